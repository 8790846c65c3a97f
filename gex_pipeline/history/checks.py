"""The asset checks: each verdict under its name, blocking where data must not go on."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import dagster as dg

from gex_pipeline.history import verdicts
from gex_pipeline.history.assets import DATABASE_POOL, permanent_failures
from gex_pipeline.history.attempts import Attempt, record_attempt
from gex_pipeline.history.importing import LEASE_TIMEOUT_SECONDS
from gex_pipeline.history.partitions import PARTITIONS
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.staging import damage_told
from gex_pipeline.history.verdicts import Subject, Verdict
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import in_memory, lease

Judge = Callable[[Subject], Verdict]


@dataclass(frozen=True)
class Check:
    """One check: the asset it speaks of, its name, and the function that judges a partition."""

    asset: str
    name: str
    judge: Judge
    description: str
    is_blocking: bool = False

    def spec(self) -> dg.AssetCheckSpec:
        """Declare it to Dagster."""
        with warnings.catch_warnings():
            # Checks per partition are a preview feature of Dagster and say so each time one is declared.
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return dg.AssetCheckSpec(
                self.name,
                asset=self.asset,
                description=self.description,
                blocking=self.is_blocking,
                partitions_def=PARTITIONS,
            )


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


def judge(checks: tuple[Check, ...], settings: Settings, partition: Partition) -> Iterator[tuple[Check, Verdict]]:
    """Judge a partition by a family of checks; those that need the database share one lease."""
    purpose = f"check {partition.key}"
    reading = (
        in_memory()
        if checks is STAGED
        else lease(settings.database_path, purpose=purpose, timeout_seconds=LEASE_TIMEOUT_SECONDS, read_only=True)
    )
    with reading as connection:
        for check in checks:
            with damage_told(settings, partition):
                verdict = check.judge(Subject(settings, partition, connection))
            yield check, verdict


def _checks(name: str, checks: tuple[Check, ...], pool: str | None = None) -> dg.AssetChecksDefinition:
    """Run a family of checks in one step."""

    @dg.multi_asset_check(name=name, specs=[check.spec() for check in checks], pool=pool)
    def judge_all(
        context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.AssetCheckResult]:
        partition = Partition.parse(context.partition_key)
        attempt = Attempt.of_staged(settings, partition, context.run.run_id)
        refusals = []
        with permanent_failures():
            judged = list(judge(checks, settings, partition))
        for check, verdict in judged:
            yield dg.AssetCheckResult(
                asset_key=check.asset,
                check_name=check.name,
                passed=verdict.passed,
                description=verdict.description,
                metadata=verdict.metadata,
            )
            if check.is_blocking and not verdict.passed:
                refusals.append(f"{check.asset} {check.name}: {verdict.description}")
        if refusals:
            record_attempt(settings, attempt, "refused", "; ".join(refusals))

    return judge_all


staged_checks = _checks("check_staged", STAGED)
stored_checks = _checks("check_stored", STORED, pool=DATABASE_POOL)
published_checks = _checks("check_published", PUBLISHED, pool=DATABASE_POOL)
