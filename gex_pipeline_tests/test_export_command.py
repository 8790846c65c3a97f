"""`gex export`: which days it publishes, what it says of each, and what Dagster knows afterwards."""

from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from gex_pipeline.dagster_home import dagster_instance
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.live_days import capture, published
from gex_pipeline_tests.processes import gex

FRIDAY, MONDAY = "2025-11-14|SPX:gex_zero", "2025-11-17|SPX:gex_zero"
OTHER = "2025-11-14|NQ_NDX:gex_full"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data", dagster_home=tmp_path / "data" / "dagster")


@pytest.fixture
def captured(settings: Settings) -> Settings:
    """Two days of one feed, one of another, and a Saturday."""
    capture(settings, "SPX:gex_zero 2025-11-14 10:00:00", "SPX:gex_zero 2025-11-14 10:00:01")
    capture(settings, "SPX:gex_zero 2025-11-17 10:00:00", "NQ_NDX:gex_full 2025-11-14 10:00:00")
    capture(settings, "SPX:gex_zero 2025-11-15 10:00:00")
    return settings


def export(settings: Settings, *arguments: str) -> tuple[int, list[str]]:
    """Run the command; return its exit status and its lines."""
    result = gex("export", *arguments, data_dir=settings.data_dir)
    return result.returncode, [*result.stdout.splitlines(), *result.stderr.splitlines()]


def test_every_trading_day_is_published_checked_and_known_to_dagster_and_the_second_time_left_alone(
    captured: Settings,
) -> None:
    assert export(captured) == (
        0,
        [
            f"written {OTHER}",
            f"written {FRIDAY}",
            f"written {MONDAY}",
            "3 written, 0 replaced, 0 unchanged, 0 failed",
        ],
    )
    assert [pq.read_metadata(path).num_rows for path in published(captured, FRIDAY)] == [2, 4]
    with dagster_instance(captured) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("strikes_parquet")) == {FRIDAY, MONDAY, OTHER}
        checks = [
            dg.AssetCheckKey(dg.AssetKey(f"{table}_parquet"), "matches_database")
            for table in ("snapshots", "strikes")
        ]
        verdicts = instance.event_log_storage.get_asset_check_partition_info(checks)
        assert {(each.partition_key, str(each.latest_execution_status)) for each in verdicts} == {
            (key, "AssetCheckExecutionRecordStatus.SUCCEEDED") for key in (FRIDAY, MONDAY, OTHER)
        }
        assert all(each.is_current for each in verdicts)
        (run,) = instance.get_runs()
        assert (run.job_name, run.status) == ("gex_export", dg.DagsterRunStatus.SUCCESS)
    status, said = export(captured)
    assert (status, said[-1]) == (0, "0 written, 0 replaced, 3 unchanged, 0 failed")


def test_feeds_and_days_can_be_chosen_and_one_that_fails_leaves_the_others(captured: Settings) -> None:
    assert export(captured, "--feed", "SPX:zero", "--from", "2025-11-15")[1][:-1] == [f"written {MONDAY}"]
    assert export(captured, "--to", "2025-11-14", "--feed", "NQ_NDX:gex_full")[1][:-1] == [f"written {OTHER}"]
    with lease(captured.database_path, purpose="lose a ladder") as connection:
        connection.execute("DELETE FROM gex_strikes WHERE ticker = 'NQ_NDX'")
    capture(captured, "SPX:gex_zero 2025-11-17 15:59:59")
    status, said = export(captured)
    assert (status, said[1:]) == (
        1,
        [f"written {FRIDAY}", f"replaced {MONDAY}", "1 written, 1 replaced, 0 unchanged, 1 failed"],
    )
    assert said[0].startswith(f"failed {OTHER}: ")
    assert "has 2 rows and the database only 0: it is not replaced" in said[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "gex: there is no database at "),
        (("--from", "yesterday"), "gex: --from: got yesterday, expected a day such as 2025-11-14"),
        (("--feed", "SPX"), "gex: feed: got SPX, expected TICKER:endpoint"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(settings: Settings, arguments: tuple[str, ...], said: str) -> None:
    status, lines = export(settings, *arguments)
    assert (status, len(lines)) == (2, 1)
    assert lines[0].startswith(said)


def test_a_database_that_the_loader_has_not_adopted_is_left_to_it(settings: Settings) -> None:
    with lease(settings.database_path, purpose="a user's own file") as connection:
        connection.execute("CREATE TABLE gex_snapshots (timestamp BIGINT, ticker VARCHAR)")
    status, (line,) = export(settings)
    assert status == 2
    assert line.endswith("gex_data.db lacks columns; start gex up once, which adds them")
