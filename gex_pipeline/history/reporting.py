"""Telling Dagster what was done outside its runs: materializations and verdicts, as a run would record them."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.partitions.utils import get_tags_from_multi_partition_key
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from sqlalchemy import func, select, tuple_

from gex_pipeline.history.bulk import Day, Judged
from gex_pipeline.history.day import TABLES
from gex_pipeline.history.exporting import Exported
from gex_pipeline.history.judging import PUBLISHED, STORED
from gex_pipeline.history.metadata import (
    Metadata,
    describe_exported,
    describe_file,
    describe_imported,
    describe_staged,
    describe_verdict,
    severity,
)
from gex_pipeline.history.partitions import FEEDS
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.orphaned_runs import PROCESS_TAG, close_dead_runs
from gex_pipeline.process_mark import process_mark
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.lineage import imported_files
from gex_pipeline.storage.schema import has_table

IMPORT, EXPORT = "gex_import", "gex_export"
Described = Sequence[tuple[str, Metadata]]


def add_feeds(instance: dg.DagsterInstance, partitions: list[Partition]) -> None:
    """Make the feeds of these partitions known."""
    known = set(instance.get_dynamic_partitions(FEEDS.name or ""))
    if new := sorted({partition.feed.key for partition in partitions} - known):
        instance.add_dynamic_partitions(FEEDS.name or "", new)


def finished_files(settings: Settings, instance: dg.DagsterInstance) -> dict[str, frozenset[str]]:
    """Return for each partition the SHA-256 of files of which every step is done.

    They are imported, the day is published, and Dagster knows so, with verdicts that all passed.
    """
    if not settings.database_path.exists():
        return {}
    with lease(settings.database_path, purpose="look up what is imported", read_only=True) as connection:
        if not has_table(connection, "data_lineage"):
            return {}  # a user's own file, which nothing has been imported into
        imported = {Partition(feed, date): hashes for (feed, date), hashes in imported_files(connection).items()}
    judged = _judged_well(instance)
    return {
        partition.key: hashes
        for partition, hashes in imported.items()
        if partition.key in judged and all(partition.published(settings, table).exists() for table in TABLES)
    }


def _judged_well(instance: dg.DagsterInstance) -> set[str]:
    """Return the partitions whose last verdicts, of which a report's last events are some, are there and passed.

    Warnings do not count: doing the steps again would not cure them. Dagster's own question for this is one query a
    check, each of which also looks for the last materialization of every partition.
    """
    checks = [check for check in (*STORED, *PUBLISHED) if not check.is_warning]
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"{type(storage).__name__} does not tell which checks passed")
    column = AssetCheckExecutionsTable.c
    names = [(dg.AssetKey(check.asset).to_string(), check.name) for check in checks]
    last = (
        select(func.max(column.id))
        .where(
            tuple_(column.asset_key, column.check_name).in_(names), column.evaluation_event_storage_id.is_not(None)
        )
        .group_by(column.asset_key, column.check_name, column.partition)
    )
    passed = (
        select(column.partition)
        .where(column.id.in_(last), column.execution_status == AssetCheckExecutionRecordStatus.SUCCEEDED.value)
        .group_by(column.partition)
        .having(func.count() == len(names))
    )
    with storage.index_connection() as connection:
        return {key for key in connection.execute(passed).scalars() if key}


@contextmanager
def recorded_run(instance: dg.DagsterInstance, job_name: str) -> Iterator[dg.DagsterRun]:
    """Give what is done outside Dagster a run of its own there, under this name.

    Verdicts need one: Dagster keeps one verdict of a check, partition and run.
    """
    close_dead_runs(instance)
    run = dg.DagsterRun(job_name=job_name, run_id=str(uuid.uuid4()), tags={PROCESS_TAG: process_mark()})
    instance.add_run(run)
    _report(instance, run, DagsterEventType.RUN_START, None)
    try:
        yield run
    except BaseException as error:
        is_interrupt = isinstance(error, KeyboardInterrupt | GeneratorExit | SystemExit)
        ended = DagsterEventType.RUN_CANCELED if is_interrupt else DagsterEventType.RUN_FAILURE
        _report(instance, run, ended, None)
        raise
    _report(instance, run, DagsterEventType.RUN_SUCCESS, None)


def report_day(instance: dg.DagsterInstance, run: dg.DagsterRun, day: Day) -> None:
    """Record the materializations of a day and the verdicts of its checks, in the order of the steps."""
    partition, staged = day.partition, day.staged
    described = [("history_file", describe_file(staged.source, "gex import"))]
    described += describe_staged(staged).items()
    if day.imported is not None:
        described += describe_imported(day.imported).items()
    described += (describe_exported(table, exported) for table, exported in day.exported)
    _report_all(instance, run, partition, described, day.judged)


def report_export(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    partition: Partition,
    exported: Sequence[tuple[Table, Exported]],
    judged: Judged,
) -> None:
    """Record that the files of a day were published, and the verdicts of their checks."""
    _report_all(instance, run, partition, [describe_exported(*each) for each in exported], judged)


def report_verdicts(instance: dg.DagsterInstance, run: dg.DagsterRun, partition: Partition, judged: Judged) -> None:
    """Record the verdicts of checks that were run again on what is stored."""
    _report_all(instance, run, partition, [], judged)


def _report_all(
    instance: dg.DagsterInstance, run: dg.DagsterRun, partition: Partition, described: Described, judged: Judged
) -> None:
    key = dg.MultiPartitionKey({"date": partition.date.isoformat(), "feed": partition.feed.key})
    tags = get_tags_from_multi_partition_key(key)
    for asset, metadata in described:
        event = dg.AssetMaterialization(asset, metadata=metadata, partition=key, tags=tags)
        _report(instance, run, DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event))
    judged_assets = {check.asset for check, _ in judged}
    targets = {asset: _last_materialization(instance, asset, key) for asset in judged_assets}
    for check, verdict in judged:
        evaluation = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(check.asset),
            check_name=check.name,
            passed=verdict.passed,
            metadata=describe_verdict(verdict),
            severity=severity(check),
            description=verdict.description,
            blocking=check.is_blocking,
            partition=key,
            target_materialization_data=targets[check.asset],
        )
        _report(instance, run, DagsterEventType.ASSET_CHECK_EVALUATION, evaluation)


def _last_materialization(
    instance: dg.DagsterInstance, asset: str, key: dg.MultiPartitionKey
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """Return what a verdict of now is about: without it Dagster's pages show the check as missing."""
    wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[key])
    records = instance.fetch_materializations(wanted, limit=1).records
    if not records:
        return None
    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=records[0].storage_id, run_id=records[0].run_id, timestamp=records[0].timestamp
    )


def _report(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    kind: DagsterEventType,
    data: StepMaterializationData | dg.AssetCheckEvaluation | None,
) -> None:
    event = DagsterEvent(event_type_value=kind.value, job_name=run.job_name, event_specific_data=data)
    instance.report_dagster_event(event, run.run_id)
