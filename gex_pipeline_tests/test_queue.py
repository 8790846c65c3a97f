"""The sensor of the queue of announced files, with a real queue and real runs."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gex_pipeline.clock import epoch_ms
from gex_pipeline.definitions import defs
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.demo.sessions import Session, write_history_file
from gex_pipeline.feeds import Feed, request_id
from gex_pipeline.history import assets, sensors
from gex_pipeline.history.queue_plan import FIRST_RETRY_MS, LOST_AFTER_MS
from gex_pipeline.history.sensors import LAUNCH_TAG, REQUEST_TAG, history_queue_sensor
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease, transaction
from gex_pipeline.storage.request_queue import Request, announce, find_announcement, find_request
from gex_pipeline.storage.schema import ensure_schema

DAY = dt.date(2025, 11, 14)
THANKSGIVING = dt.date(2025, 11, 27)
FEED = Feed("NQ_NDX", "gex_zero")
NAME = "2025-11-14_NQ_NDX_classic_gex_zero.json"
KEY = f"{DAY}|{FEED.key}"


class Queue:
    """A data folder with a queue, a Dagster instance and a GexBot with one file."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, gexbot: GexBotStandIn, **settings: Any) -> None:
        self.settings: Settings = load_settings(data_dir=folder / "data", history_hosts=gexbot.host, **settings)
        self.instance = instance
        self.gexbot = gexbot

    def announce(self, feed: Feed = FEED, date: dt.date = DAY, **behaviour: Any) -> str:
        url = self.gexbot.signed_url(NAME, **behaviour)
        with lease(self.settings.database_path, purpose="announce") as connection:
            ensure_schema(connection)
            with transaction(connection):
                announce(connection, feed, date, url=url, metadata=None, announced_at_ms=epoch_ms())
        return url

    def tick(self) -> dg.SensorResult | dg.SkipReason:
        with dg.build_sensor_context(instance=self.instance, resources={"settings": self.settings}) as context:
            result = history_queue_sensor(context)
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        return result

    def launch(self) -> dg.RunRequest:
        """Tick, take the one run request and make its feed known, as the daemon does."""
        result = self.tick()
        assert isinstance(result, dg.SensorResult), result
        for added in result.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(added.partitions_def_name, list(added.partition_keys))
        [run] = result.run_requests or []
        return run

    def execute(self, run: dg.RunRequest) -> dg.ExecuteInProcessResult:
        return defs.resolve_job_def("history_import").execute_in_process(
            partition_key=run.partition_key,
            tags=dict(run.tags),
            instance=self.instance,
            resources={"settings": self.settings},
            raise_on_error=False,
        )

    def row(self, feed: Feed = FEED, date: dt.date = DAY) -> Request:
        with lease(self.settings.database_path, purpose="look") as connection:
            found = find_request(connection, request_id(feed, date))
        assert found is not None
        return found

    def url(self) -> str | None:
        with lease(self.settings.database_path, purpose="look") as connection:
            found = find_announcement(connection, FEED, DAY)
        return found[0] if found else None

    def change(self, sql: str, *values: object) -> None:
        with lease(self.settings.database_path, purpose="change") as connection:
            connection.execute(sql, list(values))


@pytest.fixture
def gexbot(tmp_path: Path) -> Iterator[GexBotStandIn]:
    folder = tmp_path / "gexbot"
    folder.mkdir()
    write_history_file(folder / NAME, Session(feed=FEED, date=DAY, snapshots=20, strikes=3))
    with GexBotStandIn(folder) as running:
        yield running


@pytest.fixture
def queue(tmp_path: Path, gexbot: GexBotStandIn) -> Iterator[Queue]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Queue(tmp_path, instance, gexbot)


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "DOWNLOAD_RETRIES", dg.RetryPolicy(max_retries=0))


def test_without_a_database_or_without_requests_the_sensor_has_nothing_to_do(queue: Queue) -> None:
    assert isinstance(queue.tick(), dg.SkipReason)
    assert not queue.settings.database_path.exists()
    queue.announce()
    queue.execute(queue.launch())
    queue.tick()
    assert isinstance(queue.tick(), dg.SkipReason)


def test_an_announced_file_is_launched_once_for_its_partition_and_its_feed_is_made_known(queue: Queue) -> None:
    url = queue.announce()
    before = epoch_ms()
    result = queue.tick()
    assert isinstance(result, dg.SensorResult)
    [run] = result.run_requests or []
    assert run.partition_key == KEY
    row = queue.row()
    assert (row.status, row.attempts, row.run_id) == ("started", 1, None)
    assert row.started_at is not None
    assert before <= row.started_at <= epoch_ms()
    launch = f"{row.id}-{row.started_at}"
    assert run.run_key == launch
    assert run.tags == {REQUEST_TAG: str(row.id), LAUNCH_TAG: launch, "dagster/max_runtime": "3600"}
    assert run.run_config == {}, "an announcement never asks for anything to be replaced"
    assert url.partition("?")[2] not in repr(result)
    assert "http" not in repr(result)
    [added] = result.dynamic_partitions_requests or []
    assert (added.partitions_def_name, list(added.partition_keys)) == ("feed", [FEED.key])
    assert isinstance(queue.tick(), dg.SkipReason)
    assert queue.row() == row


# Dagster deprecates the tag keys that it makes itself for a partition of two dimensions.
@pytest.mark.filterwarnings("ignore:Non-compliant tag keys:DeprecationWarning")
def test_dagster_accepts_a_launch_for_a_feed_that_it_sees_for_the_first_time(
    tmp_path: Path, gexbot: GexBotStandIn
) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        queue = Queue(tmp_path, instance, gexbot)
        queue.announce()
        with dg.SensorEvaluationContext(
            instance.get_ref(),
            repository_def=defs.get_repository_def(),
            resources={"settings": dg.ResourceDefinition.hardcoded_resource(queue.settings)},
        ) as context:
            tick = history_queue_sensor.evaluate_tick(context)
        [run] = tick.run_requests or []
        assert (run.partition_key, run.tags["dagster/partition"]) == (KEY, KEY)
        assert run.tags[REQUEST_TAG] == str(queue.row().id)


def test_a_feed_that_is_known_is_not_added_again(queue: Queue) -> None:
    queue.instance.add_dynamic_partitions("feed", [FEED.key])
    queue.announce()
    result = queue.tick()
    assert isinstance(result, dg.SensorResult)
    assert not result.dynamic_partitions_requests


def test_the_feeds_of_the_settings_are_known_from_the_start(
    tmp_path: Path, gexbot: GexBotStandIn, queue: Queue
) -> None:
    configured = Queue(tmp_path, queue.instance, gexbot, feeds="SPX:full,NQ_NDX:gex_zero")
    result = configured.tick()
    assert isinstance(result, dg.SensorResult)
    [added] = result.dynamic_partitions_requests or []
    assert list(added.partition_keys) == ["NQ_NDX:gex_zero", "SPX:gex_full"]
    assert not result.run_requests


def test_several_announcements_become_a_run_each(queue: Queue) -> None:
    other = Feed("NQ_NDX", "gex_one")
    queue.announce()
    queue.announce(other)
    result = queue.tick()
    assert isinstance(result, dg.SensorResult)
    assert sorted(str(run.partition_key) for run in result.run_requests or []) == [f"{DAY}|{other.key}", KEY]
    assert len({run.run_key for run in result.run_requests or []}) == 2


def test_days_without_a_partition_fail_and_do_not_keep_the_others_from_their_runs(queue: Queue) -> None:
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    days = [THANKSGIVING, *(tomorrow + dt.timedelta(days=day) for day in range(7))]
    for day in days:
        queue.announce(date=day)
    queue.announce()
    assert queue.launch().partition_key == KEY
    for day in days:
        row = queue.row(date=day)
        assert (row.status, row.attempts, row.run_id) == ("failed", 0, None)
        assert str(row.last_error).startswith(f"{day} is not an NYSE trading day")
    assert isinstance(queue.tick(), dg.SkipReason)


def test_a_run_that_succeeds_completes_the_request_and_its_signed_url_is_forgotten(queue: Queue) -> None:
    queue.announce()
    result = queue.execute(queue.launch())
    assert result.success
    queue.tick()
    row = queue.row()
    assert (row.status, row.attempts, row.run_id, row.last_error) == ("completed", 1, result.run_id, None)
    assert row.finished_at is not None
    assert queue.url() is None


def test_a_file_that_is_announced_again_while_it_is_imported_is_imported_once_more(queue: Queue) -> None:
    queue.announce()
    first = queue.launch()
    queue.announce()
    assert (queue.row().status, queue.row().announced) == ("started", 2)
    assert queue.execute(first).success
    queue.tick()
    assert queue.row().status == "pending"
    second = queue.launch()
    assert second.run_key != first.run_key
    assert queue.execute(second).success
    queue.tick()
    assert (queue.row().status, queue.url()) == ("completed", None)


def test_a_failure_for_good_is_noted_with_its_reason_and_its_run(queue: Queue) -> None:
    queue.announce(status=403)
    result = queue.execute(queue.launch())
    assert not result.success
    assert isinstance(queue.tick(), dg.SkipReason)
    row = queue.row()
    assert (row.status, row.attempts, row.run_id) == ("failed", 1, result.run_id)
    assert (row.last_error or "").startswith(
        f"{queue.gexbot.base_url}/files/{NAME} answered 403: the link has expired; announce the file with a fresh one"
    )
    assert isinstance(queue.tick(), dg.SkipReason)


def test_an_announcement_with_a_fresh_signature_reopens_a_failed_request(queue: Queue) -> None:
    queue.announce(status=403)
    queue.execute(queue.launch())
    queue.tick()
    queue.announce(cuts=0)
    assert queue.row().status == "pending"
    assert queue.execute(queue.launch()).success
    queue.tick()
    row = queue.row()
    assert (row.status, row.attempts, row.announced, row.last_error) == ("completed", 1, 2, None)


def test_a_failed_check_is_a_failure_for_good_that_names_the_check(queue: Queue) -> None:
    (queue.gexbot.directory / NAME).write_bytes(b"[]")
    queue.announce()
    queue.execute(queue.launch())
    queue.tick()
    row = queue.row()
    assert (row.status, row.last_error) == ("failed", "staged_snapshots not_empty: 0 snapshots")


@pytest.mark.usefixtures("no_retries")
def test_a_failure_that_may_go_away_is_launched_again_after_a_pause(queue: Queue) -> None:
    queue.announce(failures=1)
    first = queue.launch()
    result = queue.execute(first)
    assert not result.success
    assert isinstance(queue.tick(), dg.SkipReason)
    row = queue.row()
    assert (row.status, row.attempts, row.run_id) == ("pending", 1, result.run_id)
    assert (row.last_error or "").startswith(f"{queue.gexbot.base_url}/files/{NAME} answered 503; ")
    assert isinstance(queue.tick(), dg.SkipReason)
    queue.change("UPDATE gex_history_queue SET finished_at = finished_at - ?", FIRST_RETRY_MS)
    second = queue.launch()
    assert second.run_key != first.run_key
    assert queue.row().attempts == 2
    assert queue.execute(second).success
    queue.tick()
    assert (queue.row().status, queue.row().last_error) == ("completed", None)


@pytest.mark.usefixtures("no_retries")
def test_the_attempts_have_an_end(tmp_path: Path, gexbot: GexBotStandIn, queue: Queue) -> None:
    once = Queue(tmp_path, queue.instance, gexbot, max_import_attempts=1)
    once.announce(status=503)
    once.execute(once.launch())
    once.tick()
    assert once.row().status == "failed"


def launched_run(queue: Queue, run: dg.RunRequest) -> dg.DagsterRun:
    """Record a run as the daemon does, without executing it."""
    return queue.instance.create_run_for_job(
        defs.resolve_job_def("history_import"), tags={**run.tags, "dagster/partition": KEY}
    )


def test_a_run_at_work_is_named_in_the_queue(queue: Queue) -> None:
    queue.announce()
    run = launched_run(queue, queue.launch())
    assert isinstance(queue.tick(), dg.SkipReason)
    assert (queue.row().status, queue.row().run_id) == ("started", run.run_id)


def test_a_run_whose_process_died_is_launched_again(queue: Queue) -> None:
    queue.announce()
    run = launched_run(queue, queue.launch())
    queue.instance.report_run_failed(run)
    queue.tick()
    row = queue.row()
    assert (row.status, row.run_id) == ("pending", run.run_id)
    assert row.last_error == "the run's process ended before the run did"


def test_a_run_that_was_canceled_is_not_launched_again(queue: Queue) -> None:
    queue.announce()
    run = launched_run(queue, queue.launch())
    queue.instance.report_run_canceled(run)
    queue.tick()
    row = queue.row()
    assert (row.status, row.last_error, row.run_id) == ("failed", "the run was canceled", run.run_id)


def test_a_launch_that_got_lost_is_repeated(queue: Queue) -> None:
    queue.announce()
    queue.launch()
    queue.change("UPDATE gex_history_queue SET started_at = started_at - ?", LOST_AFTER_MS + 1)
    queue.tick()
    row = queue.row()
    assert (row.status, row.attempts, row.last_error) == ("pending", 1, "the run was never launched")


def test_a_database_that_stays_busy_is_no_error_of_the_sensor(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.announce()
    monkeypatch.setattr(sensors, "LEASE_SECONDS", 0.1)
    with lease(queue.settings.database_path, purpose="hold it"):
        result = queue.tick()
    assert isinstance(result, dg.SkipReason)
    assert "hold it" in str(result.skip_message)
    assert queue.row().status == "pending"
    assert queue.launch().partition_key == KEY
