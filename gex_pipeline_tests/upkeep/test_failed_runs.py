"""Operators are told of every run that fails for good, once, and of many together."""

import datetime as dt
import time
import uuid
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import RunsTable
from sqlalchemy import update

from gex_pipeline.definitions import defs
from gex_pipeline.history import telling
from gex_pipeline.history.fetching import FETCH_TAG
from gex_pipeline.history.sensors import LAUNCH_TAG, REQUEST_TAG
from gex_pipeline.notify import Message
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.upkeep.failure_messages import LISTED
from gex_pipeline_tests.history_import.world import NEXT_DAY, ZERO, World, spoiling
from gex_pipeline_tests.inboxes import TOKEN, Inbox, hanging_inbox
from gex_pipeline_tests.upkeep.messages import messages_of

# Apprise imports it the first time that it is asked for an address.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

Told = list[dict[str, str]]


class Watch:
    """The sensor, with its cursor between ticks."""

    def __init__(self, world: World, **settings: Any) -> None:
        self.world = world
        self.settings = load_settings(
            data_dir=world.settings.data_dir, notify_urls="json://127.0.0.1:1", dagster_port=3456, **settings
        )
        self.cursor: str | None = None

    def tick(self, *, send: bool = False) -> Told:
        """Evaluate the sensor; return what it wants to be told, and let it be sent."""
        with dg.build_sensor_context(
            instance=self.world.instance,
            resources={"settings": self.settings},
            cursor=self.cursor,
            repository_def=defs.get_repository_def(),
        ) as context:
            evaluated = defs.resolve_sensor_def("failed_runs_sensor").evaluate_tick(context)
        self.cursor = evaluated.cursor or self.cursor
        runs = evaluated.run_requests or []
        if send:
            for run in runs:
                assert execute(self.world.instance, self.settings, run).success
        return [each for run in runs for each in messages_of(run)]


def execute(instance: dg.DagsterInstance, settings: Settings, run: dg.RunRequest) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("tell_operators").execute_in_process(
        run_config=run.run_config, instance=instance, resources={"settings": settings}, raise_on_error=False
    )


@pytest.fixture
def watch(world: World) -> Watch:
    """A sensor whose first tick, which only notes what was before, is over."""
    watch = Watch(world)
    assert watch.tick() == []
    return watch


def start(world: World, partition: str | None = None, *, job: str = "history_import", **tags: str) -> dg.DagsterRun:
    """Leave a run that has been started."""
    named = {name.replace("__", "/"): value for name, value in tags.items()}
    if partition:
        named["dagster/partition"] = partition
    run = dg.DagsterRun(job_name=job, run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED, tags=named)
    return world.instance.add_run(run)


def fail(world: World, partition: str | None = ZERO.key, *, job: str = "history_import", **tags: str) -> str:
    """Leave a run that failed without a step, as one whose process was killed."""
    run = start(world, partition, job=job, **tags)
    world.instance.report_run_failed(run)
    return run.run_id


def fail_days_ago(world: World, days: int) -> None:
    """Leave a run of the daily fetch that failed so many days ago."""
    run_id = fail(world, gex__fetch="daily")
    storage = world.instance.run_storage
    assert isinstance(storage, SqlRunStorage)
    created = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=days)
    with storage.connect() as connection:
        connection.execute(update(RunsTable).where(RunsTable.c.run_id == run_id).values(create_timestamp=created))


def test_a_run_that_failed_is_told_once_with_job_partition_reason_and_link(world: World, watch: Watch) -> None:
    result = world.import_file(ZERO, world.write(ZERO, damage=spoiling(1)))
    [quarantine] = world.settings.quarantine_dir.rglob("*.jsonl")
    assert watch.tick() == [
        {
            "title": f"history_import of {ZERO.key} failed",
            "text": "staged_snapshots bad_records: 1 of 200 records are bad (0.50%, at most 0.1% may be); "
            f"most often spot: expected a finite number (1); see {quarantine}\n"
            f"http://127.0.0.1:3456/runs/{result.run_id}",
        }
    ]
    assert watch.tick() == []
    world.import_file(NEXT_DAY, world.write(NEXT_DAY))
    assert watch.tick() == []


def test_what_failed_before_the_first_tick_is_told_nobody(world: World) -> None:
    fail(world)
    watch = Watch(world)
    assert watch.tick() == watch.tick() == []


def test_without_addresses_nothing_is_sent_and_what_failed_meanwhile_is_not_told_later(
    world: World, watch: Watch
) -> None:
    with_addresses = watch.settings
    watch.settings = with_addresses.model_copy(update={"notify_urls": ()})
    fail(world)
    assert watch.tick() == []
    watch.settings = with_addresses
    assert watch.tick() == []


def test_every_job_of_ours_is_told_and_no_other(world: World, watch: Watch) -> None:
    fail(world, None, job="database_backup")
    fail(world, job="live_export")
    fail(world, None, job="tell_operators")
    [told] = watch.tick()
    assert told["title"] == "2 runs failed"
    assert told["text"].splitlines()[::2] == [
        "database_backup: the run's process ended before the run did",
        f"live_export of {ZERO.key}: the run's process ended before the run did",
    ]


def test_a_run_that_was_canceled_or_is_retried_by_dagster_is_not_told(world: World, watch: Watch) -> None:
    world.instance.report_run_canceled(start(world))
    fail(world, dagster__will_retry="true")
    assert watch.tick() == []


def test_a_link_leads_where_people_find_the_ui(world: World) -> None:
    watch = Watch(world, dagster_url="https://gex.example/dagster/")
    watch.tick()
    run_id = fail(world)
    [told] = watch.tick()
    assert told["text"].endswith(f"\nhttps://gex.example/dagster/runs/{run_id}")


def test_no_query_string_password_or_second_line_of_an_error_is_told(world: World, watch: Watch) -> None:
    @dg.op
    def fails() -> None:
        raise dg.Failure("GET https://me:pw@host/file.json?sig=SECRET failed\n  and more " + "x" * 1000)

    @dg.job(name="history_import")
    def job() -> None:
        fails()

    job.execute_in_process(instance=world.instance, raise_on_error=False)
    [told] = watch.tick()
    assert told["text"].startswith("GET https://host/file.json failed and more xxx")
    assert len(told["text"].splitlines()[0]) == 300


def test_an_announced_file_is_told_when_the_queue_gives_it_up_and_not_before(world: World, watch: Watch) -> None:
    world.announce(ZERO, world.write(ZERO))
    run_id = fail(world, **{REQUEST_TAG: "1", LAUNCH_TAG: "1-1"})
    assert watch.tick() == []
    give_up = (
        "UPDATE gex_history_queue SET status = 'failed', run_id = ?, last_error = 'gone', "
        "finished_at = epoch_ms(now()) + 5"
    )
    with lease(world.settings.database_path, purpose="give up") as connection:
        connection.execute(give_up, [run_id])
    assert watch.tick() == [
        {
            "title": f"history_import of {ZERO.key} failed",
            "text": f"gone\nhttp://127.0.0.1:3456/runs/{run_id}",
        }
    ]
    assert watch.tick() == []


def test_an_announced_file_that_got_no_run_is_told(world: World, watch: Watch) -> None:
    world.announce(ZERO, world.write(ZERO))
    with lease(world.settings.database_path, purpose="give up") as connection:
        connection.execute(
            "UPDATE gex_history_queue SET status = 'failed', last_error = 'no such day', "
            "finished_at = epoch_ms(now()) + 5"
        )
    [told] = watch.tick()
    assert told["text"] == "no such day\nit got no run"


def test_a_backfill_is_told_once_when_it_has_ended_with_a_list_that_has_an_end(world: World, watch: Watch) -> None:
    backfill = PartitionBackfill("kfrgnqpz", BulkActionStatus.REQUESTED, False, {}, time.time())
    world.instance.add_backfill(backfill)
    failures = LISTED + 5
    for day in range(failures):
        fail(world, f"2025-11-14|F{day}:gex_zero", dagster__backfill="kfrgnqpz")
    finished = start(world, dagster__backfill="kfrgnqpz")
    assert watch.tick() == []
    world.instance.update_backfill(backfill._replace(status=BulkActionStatus.COMPLETED_FAILED))
    assert watch.tick() == []
    world.instance.report_run_canceled(finished)
    [told] = watch.tick()
    assert told["title"] == f"{failures} of {failures + 1} runs of the backfill kfrgnqpz failed"
    lines = told["text"].splitlines()
    assert lines[0] == "http://127.0.0.1:3456/runs/b/kfrgnqpz"
    assert len(lines) == LISTED + 2
    assert lines[1].startswith("history_import of 2025-11-14|F")
    assert lines[-1] == "and 5 more: http://127.0.0.1:3456/runs/b/kfrgnqpz"
    assert watch.tick() == []


def test_a_daily_fetch_that_may_do_better_is_told_on_the_last_day_of_its_tries_and_then_no_more(
    world: World, watch: Watch
) -> None:
    assert watch.settings.max_import_attempts == 3
    fail_days_ago(world, 4)
    assert watch.tick() == []
    fail_days_ago(world, 2)
    fail_days_ago(world, 2)
    assert watch.tick() == []
    fail_days_ago(world, 0)
    assert [each["title"] for each in watch.tick()] == [f"history_import of {ZERO.key} failed"]
    fail_days_ago(world, 0)
    assert watch.tick() == []


def test_a_daily_fetch_whose_file_is_no_good_is_told_at_once(world: World, watch: Watch) -> None:
    world.announce(ZERO, world.write(ZERO, damage=spoiling(1)))
    world.run(ZERO, tags={FETCH_TAG: "daily"})
    assert [each["title"] for each in watch.tick()] == [f"history_import of {ZERO.key} failed"]


def test_while_a_message_is_on_its_way_what_fails_is_gathered_for_the_next(world: World, watch: Watch) -> None:
    sending = start(world, job="tell_operators")
    fail(world)
    assert watch.tick() == []
    fail(world, NEXT_DAY.key)
    world.instance.report_run_failed(sending)
    assert [each["title"] for each in watch.tick()] == ["2 runs failed"]


def test_the_message_reaches_the_addresses(world: World, watch: Watch, inbox: Inbox) -> None:
    watch.settings = load_settings(data_dir=world.settings.data_dir, notify_urls=inbox.address)
    fail(world)
    told = watch.tick(send=True)
    assert [{"title": each["title"], "text": each["message"]} for each in inbox.received] == told


def test_an_address_that_hangs_is_tried_again_and_given_up_while_the_others_are_told_once(
    world: World, watch: Watch, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gex_pipeline.notify.SEND_SECONDS", 0.3)
    monkeypatch.setattr(telling, "RETRY_SECONDS", (0.1,))
    with hanging_inbox() as hanging:
        watch.settings = load_settings(data_dir=world.settings.data_dir, notify_urls=f"{hanging},{inbox.address}")
        request = telling.tell([Message("Import failed", "because")], "key")
        result = execute(world.instance, watch.settings, request)
    assert inbox.titles == ["Import failed"]
    events = "\n".join(str(each) for each in world.instance.all_logs(result.run_id))
    assert "address 1 of GEX_NOTIFY_URLS did not take: Import failed" in events
    assert TOKEN not in events


def test_an_import_whose_process_was_killed_has_a_line_in_the_lineage(world: World, watch: Watch) -> None:
    world.import_file(ZERO, world.write(ZERO))
    before = world.query("SELECT count(*) FROM data_lineage")
    run_id = fail(world)
    watch.tick()
    watch.tick()
    [line] = world.query("SELECT run_id, source_file, status, errors FROM data_lineage WHERE status = 'failed'")
    assert line == (
        run_id,
        "20251114_NQ_NDX_gex_zero_history.json",
        "failed",
        "the run's process ended before the run did",
    )
    assert world.query("SELECT count(*) - 1 FROM data_lineage") == before
