"""The schedules of a session's evening: live days to Parquet, and history files from GexBot."""

import dagster as dg

from gex_pipeline.history.export_plan import (
    LOOK_BACK_DAYS,
    SETTLED_AFTER_MS,
    plan_exports,
    published_rows,
    stored_rows,
)
from gex_pipeline.history.fetch_plan import STEP, missing_days, plan_fetches
from gex_pipeline.history.fetching import (
    FETCH_TAG,
    absences,
    ask_for,
    failed_fetches,
    imported_days,
    merged,
    under_way,
)
from gex_pipeline.history.jobs import history_import, live_export
from gex_pipeline.history.reporting import add_feeds
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.trading_days import NEW_YORK, sessions_before


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
    wanted = plan_exports(stored, files, under_way(context.instance))
    if not wanted:
        return dg.SkipReason(f"everything since {days[0]} is in Parquet")
    add_feeds(context.instance, wanted)
    tags = {"dagster/max_runtime": str(settings.import_timeout_seconds)}
    return [dg.RunRequest(run_key=each.key, partition_key=each.key, tags=tags) for each in wanted]


@dg.schedule(
    job=history_import,
    # Every half hour from the close of a half day on, and in the morning what came overnight.
    cron_schedule=["15,45 13-23 * * 1-5", "15 8 * * *"],
    execution_timezone=NEW_YORK.key,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=f"Fetches what GexBot has of the feeds of GEX_FEEDS and was not imported, {STEP} at a time.",
)
def daily_fetch(
    context: dg.ScheduleEvaluationContext, settings: dg.ResourceParam[Settings]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Request a run for each file that GexBot has published; what it has not, waits for the next tick."""
    if settings.gexbot_api_key is None or not settings.feeds:
        return dg.SkipReason("nothing is fetched by itself: GEXBOT_API_KEY and GEX_FEEDS are not both set")
    instance, now = context.instance, context.scheduled_execution_time
    now_ms = int(now.timestamp() * 1000)
    missing = missing_days(settings.feeds, imported_days(settings), now_ms)
    tries = merged(failed_fetches(instance, now), absences(instance, now))
    max_tries = settings.max_import_attempts
    planned = plan_fetches(missing, under_way(instance), tries, max_tries=max_tries, now_ms=now_ms)
    if not planned:
        others = f"; {len(missing)} are under way or were tried in vain" if missing else ""
        return dg.SkipReason(f"there is nothing to fetch{others}")
    published, waiting = ask_for(settings, instance, planned, now_ms)
    if not published:
        return dg.SkipReason("\n".join(waiting))
    for each in waiting:
        context.log.info(each)
    add_feeds(instance, published)
    tags = {FETCH_TAG: "daily", "dagster/max_runtime": str(settings.import_timeout_seconds)}
    return [
        dg.RunRequest(run_key=f"{each.key} {now.isoformat()}", partition_key=each.key, tags=tags)
        for each in published
    ]
