"""Live days reach Parquet: which are asked for after a session, and what their runs publish."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from gex_pipeline.definitions import defs
from gex_pipeline.history.export_plan import LOOK_BACK_DAYS, Rows, plan_exports
from gex_pipeline.history.partitions import FEEDS
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.reporting import add_feeds
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.trading_days import sessions_before
from gex_pipeline_tests.live_days import at, capture, published
from gex_pipeline_tests.records import ZERO, import_records, record

FRIDAY, MONDAY = "2025-11-14", "2025-11-17"
KEY = f"{FRIDAY}|SPX:gex_zero"

# Said of the tags that Dagster itself gives a run of two dimensions.
pytestmark = pytest.mark.filterwarnings("ignore:Non-compliant tag keys:DeprecationWarning")

Tick = Callable[[str], list[str]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster with a storage of its own, which a schedule's context opens a second time."""
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield instance


@pytest.fixture
def tick(settings: Settings, instance: dg.DagsterInstance) -> Tick:
    """Evaluates the schedule at a moment in New York and returns the partitions it wants runs of."""

    def tick(moment: str) -> list[str]:
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=at(moment),
            resources={"settings": settings},
            repository_def=defs.get_repository_def(),
        ) as context:
            evaluated = defs.resolve_schedule_def("session_export").evaluate_tick(context)
        assert bool(evaluated.run_requests) != bool(evaluated.skip_message)
        return [request.partition_key or "" for request in evaluated.run_requests or []]

    return tick


def run(instance: dg.DagsterInstance, settings: Settings, key: str) -> dg.ExecuteInProcessResult:
    """Make the feed known, as a tick does, and run the job for a partition."""
    add_feeds(instance, [Partition.parse(key)])
    job = defs.resolve_job_def("live_export")
    return job.execute_in_process(
        instance=instance, partition_key=key, resources={"settings": settings}, raise_on_error=False
    )


def checks_passed(result: dg.ExecuteInProcessResult) -> list[bool]:
    """Return the verdicts on what was published; a few snapshots are no whole session, which others say."""
    evaluations = result.get_asset_check_evaluations()
    return [each.passed for each in evaluations if each.check_name == "matches_database"]


def test_after_a_session_each_feed_with_rows_is_exported_once(
    settings: Settings, instance: dg.DagsterInstance, tick: Tick
) -> None:
    capture(settings, f"SPX:gex_zero {FRIDAY} 10:00:00", f"SPX:gex_zero {FRIDAY} 10:00:01")
    capture(settings, f"NQ_NDX:gex_full {FRIDAY} 10:00:00")
    assert tick(f"{FRIDAY} 16:29:59") == [], "the session has only just closed"
    assert tick(f"{FRIDAY} 16:30:00") == [f"{FRIDAY}|NQ_NDX:gex_full", KEY]
    assert set(instance.get_dynamic_partitions(FEEDS.name or "")) == {"NQ_NDX:gex_full", "SPX:gex_zero"}
    for key, snapshots in ((KEY, 2), (f"{FRIDAY}|NQ_NDX:gex_full", 1)):
        result = run(instance, settings, key)
        assert result.success
        assert checks_passed(result) == [True, True]
        assert [pq.read_metadata(path).num_rows for path in published(settings, key)] == [snapshots, 2 * snapshots]
    assert tick(f"{FRIDAY} 20:00:00") == []


@pytest.mark.parametrize(
    ("moment", "is_exported"),
    [
        ("2025-11-28 13:29:59", False),
        ("2025-11-28 13:30:00", True),  # a half day
        ("2025-11-26 13:30:00", False),
        ("2025-11-26 16:30:00", True),
    ],
)
def test_a_day_is_exported_half_an_hour_after_its_own_close(
    settings: Settings, tick: Tick, moment: str, is_exported: bool
) -> None:
    day = moment[:10]
    capture(settings, f"SPX:gex_zero {day} 10:00:00")
    assert tick(moment) == ([f"{day}|SPX:gex_zero"] if is_exported else [])


def test_a_holiday_has_no_partition_and_the_evenings_that_were_missed_are_caught_up(
    settings: Settings, tick: Tick
) -> None:
    capture(settings, *(f"SPX:gex_zero 2025-11-{day} 10:00:00" for day in (24, 25, 26, 27)))
    assert tick("2025-11-27 16:30:00") == [f"2025-11-{day}|SPX:gex_zero" for day in (24, 25, 26)]
    capture(settings, "SPX:gex_zero 2025-11-28 10:00:00", "SPX:gex_zero 2025-11-29 10:00:00")
    assert tick("2025-12-01 13:30:00") == [f"2025-11-{day}|SPX:gex_zero" for day in (24, 25, 26, 28)]


def test_no_evening_is_missed_for_ten_sessions_and_older_ones_are_left_to_the_command(
    settings: Settings, tick: Tick
) -> None:
    days = [f"{day}" for day in sessions_before(int(at(f"{MONDAY} 20:00").timestamp() * 1000), LOOK_BACK_DAYS + 1)]
    assert (len(days), days[-1]) == (11, MONDAY)
    capture(settings, *(f"SPX:gex_zero {day} 10:00:00" for day in days))
    assert tick(f"{MONDAY} 20:00:00") == [f"{day}|SPX:gex_zero" for day in days[1:]]


def test_rows_that_came_late_are_exported_too_and_the_earlier_file_is_kept(
    settings: Settings, instance: dg.DagsterInstance, tick: Tick
) -> None:
    capture(settings, f"SPX:gex_zero {FRIDAY} 10:00:00")
    run(instance, settings, KEY)
    snapshots, strikes = published(settings, KEY)
    earlier = snapshots.read_bytes()
    capture(settings, f"SPX:gex_zero {FRIDAY} 15:59:59")
    assert tick(f"{FRIDAY} 20:00:00") == [KEY]
    assert run(instance, settings, KEY).success
    assert [pq.read_metadata(path).num_rows for path in (snapshots, strikes)] == [2, 4]
    kept = [path.read_bytes() for path in (settings.backups_dir / "parquet").rglob("*.snapshots.parquet.*")]
    assert kept == [earlier]
    assert tick(f"{MONDAY} 13:30:00") == []


def test_a_day_that_is_both_live_and_history_is_published_with_all_of_both(
    settings: Settings, instance: dg.DagsterInstance, tick: Tick
) -> None:
    import_records(settings, record(0), record(1), partition=ZERO)
    capture(settings, f"SPX:gex_zero {FRIDAY} 15:59:59", f"SPX:gex_zero {FRIDAY} 09:30:01")
    assert tick(f"{FRIDAY} 16:30:00") == [KEY]
    assert checks_passed(run(instance, settings, KEY)) == [True, True]
    assert pq.read_table(published(settings, KEY)[0])["source"].to_pylist() == ["history", "history", "live"]
    assert tick(f"{FRIDAY} 20:00:00") == []


@pytest.mark.parametrize("broken", [0, 1], ids=["snapshots", "strikes"])
@pytest.mark.parametrize("content", [None, b"PAR1 no Parquet PAR1"], ids=["missing", "damaged"])
def test_a_file_that_is_missing_or_damaged_is_written_again(
    settings: Settings, instance: dg.DagsterInstance, tick: Tick, broken: int, content: bytes | None
) -> None:
    capture(settings, f"SPX:gex_zero {FRIDAY} 10:00:00")
    run(instance, settings, KEY)
    path = published(settings, KEY)[broken]
    path.unlink() if content is None else path.write_bytes(content)
    assert tick(f"{FRIDAY} 20:00:00") == [KEY]
    assert run(instance, settings, KEY).success
    assert tick(f"{FRIDAY} 20:00:00") == []


def test_a_partition_that_a_run_is_at_work_on_is_not_requested_again(
    settings: Settings, instance: dg.DagsterInstance, tick: Tick
) -> None:
    capture(settings, f"SPX:gex_zero {FRIDAY} 10:00:00", f"SPX:gex_one {FRIDAY} 10:00:00")
    instance.create_run_for_job(
        defs.resolve_job_def("history_import"), status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": KEY}
    )
    assert tick(f"{FRIDAY} 16:30:00") == [f"{FRIDAY}|SPX:gex_one"]


def test_a_file_with_more_rows_than_the_database_is_not_replaced_and_not_asked_for(
    settings: Settings, instance: dg.DagsterInstance, tick: Tick
) -> None:
    capture(settings, f"SPX:gex_zero {FRIDAY} 10:00:00", f"SPX:gex_zero {FRIDAY} 10:00:01")
    run(instance, settings, KEY)
    with lease(settings.database_path, purpose="lose rows") as connection:
        connection.execute("DELETE FROM gex_snapshots WHERE timestamp = (SELECT max(timestamp) FROM gex_snapshots)")
    assert tick(f"{FRIDAY} 20:00:00") == []
    assert not run(instance, settings, KEY).success
    assert pq.read_metadata(published(settings, KEY)[0]).num_rows == 2


def test_a_database_that_is_missing_or_not_adopted_yet_has_nothing_to_export(settings: Settings, tick: Tick) -> None:
    assert tick(f"{FRIDAY} 16:30:00") == []
    with lease(settings.database_path, purpose="a user's own file") as connection:
        connection.execute("CREATE TABLE gex_snapshots (timestamp BIGINT, ticker VARCHAR)")
    assert tick(f"{FRIDAY} 16:30:00") == []


def test_rows_under_names_that_no_feed_can_have_are_left_where_they_are(settings: Settings, tick: Tick) -> None:
    capture(settings, f"SPX:gex_zero {FRIDAY} 10:00:00")
    with lease(settings.database_path, purpose="add rows") as connection:
        for ticker in ("spx", "../etc", "", None):
            connection.execute(
                "INSERT INTO gex_snapshots (timestamp, ticker) SELECT timestamp, ? FROM gex_snapshots LIMIT 1",
                [ticker],
            )
    assert tick(f"{FRIDAY} 16:30:00") == [KEY]


def test_only_what_has_more_rows_than_its_files_is_planned() -> None:
    stored = dict.fromkeys([ZERO], Rows(10, 1000))
    plan = {
        rows: plan_exports(stored, {ZERO: Rows(*rows)}, ()) for rows in [(10, 1000), (9, 1000), (10, 999), (11, 1000)]
    }
    assert plan == {(10, 1000): [], (9, 1000): [ZERO], (10, 999): [ZERO], (11, 1000): []}
    assert plan_exports(stored, {}, ()) == [ZERO]
    assert plan_exports(stored, {}, {Partition.parse(KEY)}) == []


def test_the_schedule_runs_by_default_on_the_exchange_s_time() -> None:
    schedule = defs.resolve_schedule_def("session_export")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert (schedule.job_name, schedule.execution_timezone) == ("live_export", "America/New_York")
    assert schedule.cron_schedule == ["30 13 * * 1-5", "30 16 * * 1-5", "0 20 * * 1-5"]


def test_the_job_exports_and_checks() -> None:
    assert {node.name for node in defs.resolve_job_def("live_export").nodes} == {"export_history", "check_published"}
