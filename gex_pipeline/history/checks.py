"""The asset checks: each family of checks is a step, blocking where data must not go on."""

import warnings
from collections.abc import Iterator

import dagster as dg

from gex_pipeline.history.assets import permanent_failures
from gex_pipeline.history.attempts import Attempt, record_attempt
from gex_pipeline.history.judging import PUBLISHED, STAGED, STORED, Check, judge, refusals
from gex_pipeline.history.metadata import describe_verdict, severity
from gex_pipeline.history.partitions import PARTITIONS
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings


def _spec(check: Check) -> dg.AssetCheckSpec:
    with warnings.catch_warnings():
        # Checks per partition are a preview feature of Dagster and say so each time one is declared.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            check.name,
            asset=check.asset,
            description=check.description,
            blocking=check.is_blocking,
            partitions_def=PARTITIONS,
        )


def _checks(name: str, checks: tuple[Check, ...]) -> dg.AssetChecksDefinition:
    """Run a family of checks in one step."""

    @dg.multi_asset_check(name=name, specs=[_spec(check) for check in checks])
    def judge_all(
        context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.AssetCheckResult]:
        partition = Partition.parse(context.partition_key)
        attempt = Attempt.of_staged(settings, partition, context.run.run_id)
        with permanent_failures():
            judged = judge(checks, settings, partition)
        for check, verdict in zip(checks, judged, strict=True):
            yield dg.AssetCheckResult(
                asset_key=check.asset,
                check_name=check.name,
                passed=verdict.passed,
                severity=severity(check),
                description=verdict.description,
                metadata=describe_verdict(verdict),
            )
        if reasons := refusals(checks, judged):
            record_attempt(settings, attempt, "refused", reasons)

    return judge_all


staged_checks = _checks("check_staged", STAGED)
stored_checks = _checks("check_stored", STORED)
published_checks = _checks("check_published", PUBLISHED)
