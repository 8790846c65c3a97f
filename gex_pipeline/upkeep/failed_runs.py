"""The sensor that tells operators of runs that failed for good, each once, those of a backfill together."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg
import msgspec
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES

from gex_pipeline.audit.assets import integrity_audit
from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import GexError
from gex_pipeline.history.attempts import record_cut_off
from gex_pipeline.history.fetching import FETCH_TAG, PARTITION_TAG, UNFINISHED, failed_fetches
from gex_pipeline.history.jobs import history_import, live_export
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.run_failures import why_failed
from gex_pipeline.history.sensors import LEASE_SECONDS, REQUEST_TAG
from gex_pipeline.history.telling import tell, tell_operators
from gex_pipeline.notify import Message
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.request_queue import list_failed_since
from gex_pipeline.storage.schema import has_table
from gex_pipeline.upkeep.failure_messages import ASSET_JOB, LISTED, FailedRun, of_backfill, of_runs
from gex_pipeline.upkeep.nightly_backup import database_backup
from gex_pipeline.upkeep.nightly_upkeep import upkeep

BACKFILL_TAG, WILL_RETRY_TAG = "dagster/backfill", "dagster/will_retry"
OUR_JOBS = (history_import, live_export, integrity_audit, database_backup, upkeep)
TOLD_JOBS = {ASSET_JOB, *(job.name for job in OUR_JOBS)}
AT_ONCE = 1000


class Memory(msgspec.Struct):
    """What the sensor keeps in its cursor.

    Attributes:
        event: storage id of the last failure of a run that was seen.
        request_ms: when the last announced file failed that was seen, epoch ms UTC.
        backfills: those that have not ended and have a run that failed.
        fetches: partitions that were told of when the daily fetch failed; it tries on another day.
    """

    event: int
    request_ms: int
    backfills: list[str] = msgspec.field(default_factory=list)
    fetches: list[str] = msgspec.field(default_factory=list)


@dataclass
class News:
    """What is to be told."""

    failed: list[FailedRun] = field(default_factory=list)
    backfills: list[Message] = field(default_factory=list)

    def messages(self, dagster_url: str) -> list[Message]:
        """Put it into words."""
        return [*self.backfills, *([of_runs(self.failed, dagster_url)] if self.failed else [])]


@dg.sensor(
    job_name=tell_operators.name,  # for the job itself Dagster would copy the sensor, with a warning
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells operators of runs that failed for good.",
)
def failed_runs_sensor(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult | dg.SkipReason:
    """Gather what failed since the last message into one; while a message is on its way, nothing is read."""
    instance = context.instance
    if not context.cursor:
        return dg.SensorResult(cursor=_written(Memory(_last_failure(instance), epoch_ms())))
    if instance.get_runs(dg.RunsFilter(job_name=tell_operators.name, statuses=UNFINISHED), limit=1):
        return dg.SkipReason("a message is on its way")
    memory = msgspec.json.decode(context.cursor, type=Memory)
    news = News()
    _read_runs(instance, settings, memory, news)
    _read_requests(instance, settings, memory, news)
    _read_backfills(instance, settings, memory, news)
    cursor = _written(memory)
    messages = news.messages(settings.dagster_address)
    if not messages:
        return dg.SensorResult(cursor=cursor, skip_reason="no run failed for good")
    for each in messages:
        context.log.warning("%s\n%s", each.title, each.text)
    if not settings.notify_urls:
        return dg.SensorResult(cursor=cursor, skip_reason="nobody is told: GEX_NOTIFY_URLS is not set")
    return dg.SensorResult(cursor=cursor, run_requests=[tell(messages, run_key=cursor)])


def _read_runs(instance: dg.DagsterInstance, settings: Settings, memory: Memory, news: News) -> None:
    """Read which runs failed since the last time, except those of announced files: the queue tries these again."""
    for run in _failed_since(instance, memory):
        failure = why_failed(instance, run.run_id)
        partition = run.tags.get(PARTITION_TAG)
        if failure.lost_process and partition and _imports(run):
            record_cut_off(settings, Partition.parse(partition), run.run_id, failure.error)
        if run.tags.get(WILL_RETRY_TAG) == "true" or (REQUEST_TAG in run.tags and run.parent_run_id is None):
            continue
        if backfill := run.tags.get(BACKFILL_TAG):
            if backfill not in memory.backfills:
                memory.backfills.append(backfill)
            continue
        if partition and FETCH_TAG in run.tags:
            is_last = _tried_days(instance, partition) >= settings.max_import_attempts
            if partition in memory.fetches or (failure.is_transient and not is_last):
                continue
            memory.fetches = [*memory.fetches[-AT_ONCE:], partition]
        news.failed.append(FailedRun(run.job_name, partition, failure.error, run.run_id))


def _failed_since(instance: dg.DagsterInstance, memory: Memory) -> Iterator[dg.DagsterRun]:
    found = instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_storage_id=memory.event),
        limit=AT_ONCE,
        ascending=True,
    ).records
    if found:
        memory.event = found[-1].storage_id
    ids = list(dict.fromkeys(record.run_id for record in found))
    runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=ids))} if ids else {}
    return (runs[each] for each in ids if each in runs and runs[each].job_name in TOLD_JOBS)


def _read_requests(instance: dg.DagsterInstance, settings: Settings, memory: Memory, news: News) -> None:
    """Read which announced files failed for good since the last time; a database that is busy is read next time."""
    memory.request_ms = min(memory.request_ms, epoch_ms())  # of a clock that was set back
    try:
        if not settings.database_path.exists():
            return
        with lease(
            settings.database_path, purpose="see which files failed", timeout_seconds=LEASE_SECONDS, read_only=True
        ) as connection:
            if not has_table(connection, "gex_history_queue"):
                return
            requests = list_failed_since(connection, memory.request_ms)
    except GexError:
        return
    for each in requests:
        memory.request_ms = max(memory.request_ms, each.finished_at or 0)
        run = instance.get_run_by_id(each.run_id) if each.run_id else None
        if run is None or run.status is not dg.DagsterRunStatus.CANCELED:
            partition = Partition(each.feed, each.date).key
            news.failed.append(FailedRun(history_import.name, partition, each.last_error or "", each.run_id))


def _read_backfills(instance: dg.DagsterInstance, settings: Settings, memory: Memory, news: News) -> None:
    """Tell of the backfills that have ended."""
    for backfill_id in list(memory.backfills):
        tags = {BACKFILL_TAG: backfill_id}
        backfill = instance.get_backfill(backfill_id)
        is_over = backfill is None or backfill.status in BULK_ACTION_TERMINAL_STATUSES
        if not is_over or instance.get_runs_count(dg.RunsFilter(tags=tags, statuses=UNFINISHED)):
            continue
        memory.backfills.remove(backfill_id)
        failed = dg.RunsFilter(tags=tags, statuses=[dg.DagsterRunStatus.FAILURE])
        if failures := instance.get_runs_count(failed):
            listed = [_described(instance, run) for run in instance.get_runs(failed, limit=LISTED)]
            runs = instance.get_runs_count(dg.RunsFilter(tags=tags))
            news.backfills.append(of_backfill(backfill_id, listed, failures, runs, settings.dagster_address))


def _described(instance: dg.DagsterInstance, run: dg.DagsterRun) -> FailedRun:
    error = why_failed(instance, run.run_id).error
    return FailedRun(run.job_name, run.tags.get(PARTITION_TAG), error, run.run_id)


def _tried_days(instance: dg.DagsterInstance, partition: str) -> int:
    """Return on how many days the daily fetch tried a partition in vain."""
    return len(set(failed_fetches(instance, dt.datetime.now(dt.UTC)).get(Partition.parse(partition), ())))


def _imports(run: dg.DagsterRun) -> bool:
    """Tell whether a run was to import a history file."""
    chosen: Sequence[dg.AssetKey] = list(run.asset_selection or ())
    return run.job_name == history_import.name or dg.AssetKey("gex_snapshots") in chosen


def _last_failure(instance: dg.DagsterInstance) -> int:
    """Return the storage id of the last failure of a run: what was before the first tick is told nobody."""
    found = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1).records
    return found[0].storage_id if found else 0


def _written(memory: Memory) -> str:
    return msgspec.json.encode(memory).decode()
