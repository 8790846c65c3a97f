"""The schedule that brings live days to Parquet after each session."""

import dagster as dg

from gex_pipeline.history.export_plan import (
    LOOK_BACK_DAYS,
    SETTLED_AFTER_MS,
    plan_exports,
    published_rows,
    stored_rows,
)
from gex_pipeline.history.jobs import live_export
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.reporting import add_feeds
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.trading_days import NEW_YORK, sessions_before

PARTITION_TAG = "dagster/partition"
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dg.schedule(
    job=live_export,
    # Half an hour after the close of a half day, of a whole one, and once more for what came late.
    cron_schedule=["30 13 * * 1-5", "30 16 * * 1-5", "0 20 * * 1-5"],
    execution_timezone=NEW_YORK.key,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=f"Exports what the last {LOOK_BACK_DAYS} sessions have in the database and not yet in Parquet.",
)
def session_export(
    context: dg.ScheduleEvaluationContext, settings: dg.ResourceParam[Settings]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Request a run for each feed and recent day whose Parquet is missing or behind."""
    if not settings.database_path.exists():
        return dg.SkipReason("there is no database yet")
    now_ms = int(context.scheduled_execution_time.timestamp() * 1000)
    days = sessions_before(now_ms - SETTLED_AFTER_MS, LOOK_BACK_DAYS)
    with lease(settings.database_path, purpose="look for days to export", read_only=True) as connection:
        stored = stored_rows(connection, days)
    files = {partition: rows for partition in stored if (rows := published_rows(settings, partition))}
    wanted = plan_exports(stored, files, _under_way(context.instance))
    if not wanted:
        return dg.SkipReason(f"everything since {days[0]} is in Parquet")
    add_feeds(context.instance, wanted)
    tags = {"dagster/max_runtime": str(settings.import_timeout_seconds)}
    return [dg.RunRequest(run_key=each.key, partition_key=each.key, tags=tags) for each in wanted]


def _under_way(instance: dg.DagsterInstance) -> set[Partition]:
    """Return the partitions of runs that have not ended: each of our jobs ends with an export."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED))
    return {Partition.parse(run.tags[PARTITION_TAG]) for run in runs if PARTITION_TAG in run.tags}
