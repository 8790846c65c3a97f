"""The checks of a partition in three families: on what was staged, on what was stored, on what was published."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from gex_pipeline.errors import PermanentError
from gex_pipeline.history import session_verdicts, staged_verdicts, value_verdicts, verdicts
from gex_pipeline.history.importing import LEASE_TIMEOUT_SECONDS
from gex_pipeline.history.live_and_history import live_agrees
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.staging import damage_told, read_summary
from gex_pipeline.history.verdicts import Question, Subject, Verdict
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import Version, version_of
from gex_pipeline.storage.lease import in_memory, lease


@dataclass(frozen=True)
class Check:
    """One check: the asset it speaks of, its name, and the function that judges a partition.

    Attributes:
        is_blocking: what comes after is not done when it fails.
        is_warning: a day that fails it is to be looked at, and is there all the same.
    """

    asset: str
    name: str
    judge: Callable[[Subject], Verdict]
    description: str
    is_blocking: bool = False
    is_warning: bool = False


def _of_day(asset: str, name: str, question: Question, description: str) -> Check:
    """Return a check of what a published day says; a day that fails it is usable, with care."""
    judge = partial(verdicts.of_published_day, question=question)
    return Check(asset, name, judge, description, is_warning=True)


STAGED = (
    Check(
        "staged_snapshots",
        "schema",
        partial(staged_verdicts.schema, table="snapshots"),
        "Columns have the declared names and types.",
        is_blocking=True,
    ),
    Check(
        "staged_snapshots",
        "bad_records",
        staged_verdicts.bad_records,
        "At most 0.1 % of the file's records could not be understood.",
        is_blocking=True,
    ),
    Check("staged_snapshots", "not_empty", staged_verdicts.not_empty, "There is a snapshot.", is_blocking=True),
    Check(
        "staged_snapshots",
        "timestamps",
        staged_verdicts.timestamps,
        "Timestamps strictly increase and lie on the trading day, New York time.",
        is_blocking=True,
    ),
    Check(
        "staged_snapshots",
        "prices",
        partial(staged_verdicts.of_day, question=staged_verdicts.prices),
        "At most 0.1 % of the snapshots have a spot or a strike that is zero or negative.",
        is_blocking=True,
    ),
    Check(
        "staged_snapshots",
        "duplicates",
        staged_verdicts.duplicates,
        "Records that repeat a timestamp say the same as the first one.",
        is_warning=True,
    ),
    Check(
        "staged_strikes",
        "schema",
        partial(staged_verdicts.schema, table="strikes"),
        "Columns have the declared names and types.",
        is_blocking=True,
    ),
    Check(
        "staged_strikes",
        "have_snapshots",
        partial(staged_verdicts.of_day, question=staged_verdicts.strikes_belong),
        "Every strike has its snapshot.",
        is_blocking=True,
    ),
    Check(
        "staged_strikes",
        "ladders",
        partial(staged_verdicts.of_day, question=staged_verdicts.ladders),
        "Strikes ascend in each ladder, and each comes once.",
        is_warning=True,
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
    Check(
        "gex_snapshots",
        "live_agrees",
        live_agrees,
        "Where both were recording, live capture and the file have the same snapshots with the same values.",
        is_warning=True,
    ),
)

PUBLISHED = (
    Check(
        "snapshots_parquet",
        "matches_database",
        partial(verdicts.published_matches_stored, table="snapshots"),
        "The Parquet file has the database's rows of the day, as many and with the same content.",
    ),
    _of_day(
        "snapshots_parquet",
        "session",
        session_verdicts.session,
        "Snapshots start and end with the session, at 13:00 on half days; outside of it nothing new is said.",
    ),
    _of_day(
        "snapshots_parquet",
        "gaps",
        session_verdicts.gaps,
        "No gap in the session is longer than 30 seconds, and than ten times what is usual on the day.",
    ),
    _of_day(
        "snapshots_parquet",
        "cadence",
        session_verdicts.cadence,
        "Snapshots per hour are 0.67 to 1.5 times the median of the feed's last ten days.",
    ),
    _of_day(
        "snapshots_parquet",
        "required_fields",
        value_verdicts.required_fields,
        "Each snapshot has a spot, a ladder, and every number that others from the same source have.",
    ),
    _of_day(
        "snapshots_parquet",
        "spot",
        value_verdicts.spot,
        "Spots are positive and jump by at most 5 % from one snapshot to the next.",
    ),
    _of_day(
        "snapshots_parquet",
        "zero_gamma",
        value_verdicts.zero_gamma,
        'A zero gamma of 0, which stands for "not yet", comes in the first five minutes only.',
    ),
    Check(
        "strikes_parquet",
        "matches_database",
        partial(verdicts.published_matches_stored, table="strikes"),
        "The Parquet file has the database's rows of the day, as many and with the same content.",
    ),
    _of_day(
        "strikes_parquet",
        "ladders",
        value_verdicts.ladders,
        "Strikes are positive and come once, the spot is among them, no ladder is half as long as usual.",
    ),
    _of_day(
        "strikes_parquet",
        "majors",
        value_verdicts.majors,
        "The major strikes that a snapshot names are where its ladder has its extremes.",
    ),
    _of_day(
        "strikes_parquet",
        "totals",
        value_verdicts.totals,
        "The sums that a snapshot gives are those of its ladder, but for rounding.",
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


def failures(judged: Iterable[tuple[Check, Verdict]]) -> str:
    """Return what the failed checks found, in one line; warnings are no failures."""
    return "; ".join(
        f"{check.asset} {check.name}: {verdict.description}"
        for check, verdict in judged
        if not verdict.passed and not check.is_warning
    )
