"""The sensors: announced files become runs and are followed to their end, and days about to be lost are said."""

import datetime as dt

import dagster as dg

from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import GexError
from gex_pipeline.history.fetch_plan import expiring_days, missing_days
from gex_pipeline.history.fetching import absences, imported_days
from gex_pipeline.history.gexbot_api import KEPT_DAYS
from gex_pipeline.history.jobs import history_import
from gex_pipeline.history.partitions import FEEDS
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.queue_plan import Plan, RunState, plan_tick
from gex_pipeline.history.run_failures import why_failed
from gex_pipeline.history.telling import tell, tell_operators
from gex_pipeline.notify import Message
from gex_pipeline.orphaned_runs import close_dead_runs
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease, transaction
from gex_pipeline.storage.request_queue import (
    OPEN,
    STARTED,
    Request,
    list_requests,
    mark_completed,
    mark_failed,
    mark_running,
    mark_started,
    reopen,
)
from gex_pipeline.storage.schema import ensure_schema, has_table
from gex_pipeline.trading_days import NEW_YORK

REQUEST_TAG = "gex/request_id"
LAUNCH_TAG = "gex/launch"
LEASE_SECONDS = 10.0
_FINISHED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


@dg.sensor(job_name=tell_operators.name, minimum_interval_seconds=3600, default_status=dg.DefaultSensorStatus.RUNNING)
def history_expiry_sensor(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult | dg.SkipReason:
    """Say which days of the feeds of GEX_FEEDS GexBot is about to delete, and tell operators once a day."""
    now = dt.datetime.now(NEW_YORK)
    now_ms = epoch_ms()
    try:
        missing = missing_days(settings.feeds, imported_days(settings), now_ms)
    except GexError as error:
        return dg.SkipReason(f"what is imported could not be read: {error}")
    absent = absences(context.instance, now)
    expiring = expiring_days(missing, absent, max_tries=settings.max_import_attempts, now_ms=now_ms)
    if not expiring:
        return dg.SkipReason("GexBot deletes nothing soon that is missing here")
    lines = [f"{each.key}: until {each.date + dt.timedelta(days=KEPT_DAYS)}" for each in expiring]
    text = "\n".join(["GexBot will delete these days, which are not imported. Backfill them:", *lines])
    context.log.warning(text)
    today = now.date().isoformat()
    if context.cursor == today or not settings.notify_urls:
        return dg.SkipReason(text)
    message = Message(f"{len(expiring)} days are about to be lost", text)
    return dg.SensorResult(run_requests=[tell([message], run_key=today)], cursor=today)


@dg.sensor(job=history_import, minimum_interval_seconds=2, default_status=dg.DefaultSensorStatus.RUNNING)
def history_queue_sensor(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult | dg.SkipReason:
    """Launch a run for each announced history file and keep the queue in step with Dagster's runs."""
    for run_id in close_dead_runs(context.instance):
        context.log.warning("run %s is reported as failed: its process is gone", run_id)
    try:
        plan, started_at_ms = _advance(context.instance, settings)
    except GexError as error:
        return dg.SkipReason(f"the queue could not be read: {error}")
    known = set(context.instance.get_dynamic_partitions(FEEDS.name or ""))
    wanted = {request.feed for request in plan.launch}.union(
        (each.feed for each in settings.feeds), settings.poll_feeds
    )
    new_feeds = sorted({feed.key for feed in wanted} - known)
    if not plan.launch and not new_feeds:
        return dg.SkipReason("no announced file is waiting")
    return dg.SensorResult(
        run_requests=[_run_request(request, started_at_ms, settings) for request in plan.launch],
        dynamic_partitions_requests=[FEEDS.build_add_request(new_feeds)] if new_feeds else [],
    )


def _advance(instance: dg.DagsterInstance, settings: Settings) -> tuple[Plan, int]:
    """Read the open requests, decide, and write what was decided; return it and the time of the launches."""
    now_ms = epoch_ms()
    if not settings.database_path.exists():
        return Plan(), now_ms
    with lease(settings.database_path, purpose="read the queue", timeout_seconds=LEASE_SECONDS) as connection:
        if not has_table(connection, "gex_history_queue"):
            return Plan(), now_ms  # a user's own file, which is the loader's to adopt
        ensure_schema(connection)
        requests = list_requests(connection, statuses=OPEN)
        runs = {each.id: state for each in requests if each.status == STARTED and (state := _state(instance, each))}
        plan = plan_tick(requests, runs, max_attempts=settings.max_import_attempts, now_ms=now_ms)
        with transaction(connection):
            for request in plan.launch:
                mark_started(connection, request.id, now_ms)
            for request, run_id in plan.running:
                mark_running(connection, request.id, run_id)
            for request, run_id in plan.completed:
                mark_completed(connection, request.id, run_id)
            for request in plan.reopened:
                reopen(connection, request.id)
            for each in plan.failed:
                mark_failed(
                    connection, each.request.id, error=each.error, run_id=each.run_id, try_again=each.try_again
                )
    return plan, now_ms


def _run_request(request: Request, started_at_ms: int, settings: Settings) -> dg.RunRequest:
    launch = _launch(request.id, started_at_ms)
    return dg.RunRequest(
        run_key=launch,
        partition_key=Partition(request.feed, request.date).key,
        tags={
            REQUEST_TAG: str(request.id),
            LAUNCH_TAG: launch,
            "dagster/max_runtime": str(settings.import_timeout_seconds),
        },
    )


def _launch(request_id: int, started_at_ms: int | None) -> str:
    """Name one launch of a request, so that its run is found again and is never launched twice."""
    return f"{request_id}-{started_at_ms}"


def _state(instance: dg.DagsterInstance, request: Request) -> RunState | None:
    """Ask Dagster for the run of a started request; None when there is none (yet)."""
    tags = {LAUNCH_TAG: _launch(request.id, request.started_at)}
    runs = instance.get_runs(filters=dg.RunsFilter(tags=tags), limit=1)
    if not runs:
        return None
    run = runs[0]
    if run.status not in _FINISHED:
        return RunState(run.run_id, "running")
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return RunState(run.run_id, "succeeded")
    if run.status == dg.DagsterRunStatus.CANCELED:
        return RunState(run.run_id, "failed", "the run was canceled")
    failure = why_failed(instance, run.run_id)
    return RunState(run.run_id, "failed", failure.error, failure.is_transient)
