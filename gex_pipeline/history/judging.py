"""The checks of a partition in three families: on what was staged, on what was stored, on what was published."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from gex_pipeline.errors import PermanentError
from gex_pipeline.history import verdicts
from gex_pipeline.history.importing import LEASE_TIMEOUT_SECONDS
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.staging import damage_told, read_summary
from gex_pipeline.history.verdicts import Subject, Verdict
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import Version, version_of
from gex_pipeline.storage.lease import in_memory, lease


@dataclass(frozen=True)
class Check:
    """One check: the asset it speaks of, its name, and the function that judges a partition.

    Attributes:
        is_blocking: what comes after is not done when it fails.
    """

    asset: str
    name: str
    judge: Callable[[Subject], Verdict]
    description: str
    is_blocking: bool = False


STAGED = (
    Check(
        "staged_snapshots",
        "schema",
        partial(verdicts.staged_schema, table="snapshots"),
        "Columns have the declared names and types.",
        is_blocking=True,
    ),
    Check(
        "staged_snapshots",
        "bad_records",
        verdicts.staged_bad_records,
        "At most 0.1 % of the file's records could not be understood.",
        is_blocking=True,
    ),
    Check("staged_snapshots", "not_empty", verdicts.staged_not_empty, "There is a snapshot.", is_blocking=True),
    Check(
        "staged_snapshots",
        "timestamps",
        verdicts.staged_timestamps,
        "Timestamps strictly increase and lie on the trading day, New York time.",
        is_blocking=True,
    ),
    Check(
        "staged_strikes",
        "schema",
        partial(verdicts.staged_schema, table="strikes"),
        "Columns have the declared names and types.",
        is_blocking=True,
    ),
    Check(
        "staged_strikes",
        "have_snapshots",
        verdicts.staged_strikes_belong,
        "Every strike has its snapshot.",
        is_blocking=True,
    ),
)
STORED = (
    Check(
        "gex_snapshots",
        "matches_file",
        partial(verdicts.stored_matches_staged, table="snapshots"),
        "The database holds every snapshot of the file, and what the file brought in is equal to it.",
    ),
    Check(
        "gex_strikes",
        "matches_file",
        partial(verdicts.stored_matches_staged, table="strikes"),
        "The database holds the strikes of every snapshot of the file, and what the file brought in is equal to it.",
    ),
    Check("gex_strikes", "have_snapshots", verdicts.stored_strikes_belong, "Every strike has its snapshot."),
)
PUBLISHED = (
    Check(
        "snapshots_parquet",
        "matches_database",
        partial(verdicts.published_matches_stored, table="snapshots"),
        "The Parquet file has the database's rows of the day, as many and with the same content.",
    ),
    Check(
        "strikes_parquet",
        "matches_database",
        partial(verdicts.published_matches_stored, table="strikes"),
        "The Parquet file has the database's rows of the day, as many and with the same content.",
    ),
)


def judge(checks: tuple[Check, ...], settings: Settings, partition: Partition) -> list[Verdict]:
    """Judge a partition by a family of checks; those that need the database share one lease.

    Raises:
        MalformedFileError: nothing is staged, or nothing that could be read.
        LeaseTimeoutError: the database stayed busy.
    """
    if checks is STAGED:
        with damage_told(settings, partition):
            read_summary(partition.staged(settings, "snapshots"))
            versions = (version_of(partition.staged(settings, table)) for table in ("snapshots", "strikes"))
            return list(_judge_staged(settings, partition, *versions))
    purpose = f"check {partition.key}"
    with (
        damage_told(settings, partition),
        lease(
            settings.database_path, purpose=purpose, timeout_seconds=LEASE_TIMEOUT_SECONDS, read_only=True
        ) as connection,
    ):
        return [check.judge(Subject(settings, partition, connection)) for check in checks]


@lru_cache(maxsize=8)
def _judge_staged(
    settings: Settings, partition: Partition, _snapshots: Version, _strikes: Version
) -> tuple[Verdict, ...]:
    """Judge staged files, the same ones once: they are replaced and never written to."""
    with in_memory() as connection:
        return tuple(check.judge(Subject(settings, partition, connection)) for check in STAGED)


def require_sound(settings: Settings, partition: Partition) -> None:
    """Judge the staged rows once more, right before they are imported.

    Raises:
        MalformedFileError: nothing is staged.
        PermanentError: another run has put other rows there since they were checked, and those do not pass.
    """
    read_summary(partition.staged(settings, "snapshots"))
    if reasons := refusals(STAGED, judge(STAGED, settings, partition)):
        raise PermanentError(f"the staged rows of {partition.key} do not pass their checks: {reasons}")


def refusals(checks: tuple[Check, ...], judged: Sequence[Verdict]) -> str:
    """Return what the failed blocking checks found, in one line; empty when the data may go on."""
    return "; ".join(
        f"{check.asset} {check.name}: {verdict.description}"
        for check, verdict in zip(checks, judged, strict=True)
        if check.is_blocking and not verdict.passed
    )
