"""What the sensor tells Dagster of live tables: in sessions, after them, and at night."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from gex_pipeline.definitions import defs
from gex_pipeline.live.assets import live_assets, live_checks, live_tables_sensor, look
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.live_assets.messages import DATE, sent_on, trades_of
from gex_pipeline_tests.live_assets.messages import capture as capture_messages
from gex_pipeline_tests.live_days import at, capture

# What the sensor has judged already where only freshness is asked for.
JUDGED = "2025-11-25"
LIVE = {"live_snapshots", "live_strikes", "option_trades", "webhooks"}
Events = tuple[dict[str, dg.AssetObservation], dict[str, dg.AssetCheckEvaluation]]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two feeds on the eve of Thanksgiving, one of which stops at 10:00, and five minutes of messages."""
    settings = load_settings(data_dir=tmp_path_factory.mktemp("live") / "data")
    minutes = [f"2025-11-26 10:{minute:02}:00" for minute in range(30)]
    capture(settings, "SPX:gex_zero 2025-11-25 15:59:00", *(f"SPX:gex_zero {minute}" for minute in minutes))
    capture(settings, "NQ_NDX:gex_full 2025-11-26 10:00:00", "OLD:gex_zero 2025-11-21 10:00:00")
    capture_messages(settings, sent_on(DATE, trades_of(DATE)))
    return settings


def told(settings: Settings, moment: str, judged_last: str | None = JUDGED) -> Events:
    """Return what is told at a moment in New York, by asset and by asset.check."""
    result = look(settings, int(at(moment).timestamp() * 1000), judged_last)
    assert isinstance(result, dg.SensorResult), result
    observed, judged = {}, {}
    for event in result.asset_events or []:
        if isinstance(event, dg.AssetObservation):
            observed[event.asset_key.to_user_string()] = event
        elif isinstance(event, dg.AssetCheckEvaluation):
            judged[f"{event.asset_key.to_user_string()}.{event.check_name}"] = event
    return observed, judged


def test_each_table_is_observed_with_its_rows_of_the_day_and_how_old_they_are(settings: Settings) -> None:
    observed, _ = told(settings, "2025-11-26 10:30:00")
    assert set(observed) == LIVE
    assert {name: event.metadata["rows_of_the_day"].value for name, event in observed.items()} == {
        "live_snapshots": 31,
        "live_strikes": 62,
        "option_trades": 300,
        "webhooks": 360,
    }
    snapshots = observed["live_snapshots"].metadata
    assert (snapshots["newest"].value, snapshots["age_seconds"].value) == ("2025-11-26T10:29:00-05:00", 60)
    assert snapshots["senders"].value == (
        "| sender | rows of the day | newest | seconds ago |\n| --- | --- | --- | --- |\n"
        "| NQ_NDX:gex_full | 1 | 2025-11-26 10:00:00 | 1,800 |\n| SPX:gex_zero | 30 | 2025-11-26 10:29:00 | 60 |"
    )


def test_rows_that_a_history_file_brought_are_not_live(settings: Settings) -> None:
    with lease(settings.database_path, purpose="test") as connection:
        insert = (
            "INSERT INTO gex_snapshots (timestamp, ticker, endpoint, source) VALUES (?, 'HISTORY', 'gex_zero', ?)"
        )
        connection.execute(insert, [int(at("2025-11-26 10:20:00").timestamp() * 1000), "history"])
    observed, judged = told(settings, "2025-11-26 10:30:00")
    assert "HISTORY" not in str(observed["live_snapshots"].metadata["senders"].value)
    assert judged["live_snapshots.fresh"].metadata["senders"].value == 2


@pytest.mark.parametrize(
    ("moment", "silent"),
    [
        ("2025-11-26 09:33:00", []),
        ("2025-11-26 10:04:00", []),
        ("2025-11-26 10:30:00", ["NQ_NDX:gex_full"]),
        ("2025-11-26 10:40:00", ["NQ_NDX:gex_full", "SPX:gex_zero"]),
        ("2025-11-26 16:31:00", []),
        ("2025-11-28 09:34:00", []),
        ("2025-11-28 12:00:00", ["NQ_NDX:gex_full", "SPX:gex_zero"]),
    ],
)
def test_a_feed_is_stale_while_a_session_is_on_only(settings: Settings, moment: str, silent: list[str]) -> None:
    _, judged = told(settings, moment)
    fresh = judged["live_snapshots.fresh"]
    where = fresh.metadata.get("where")
    shown = [] if where is None else [line.split(" | ")[0].strip("| ") for line in str(where.value).splitlines()[2:]]
    assert (fresh.passed, shown) == (not silent, silent)
    assert fresh.severity is dg.AssetCheckSeverity.WARN


def test_messages_are_stale_when_none_come_at_all(settings: Settings) -> None:
    assert told(settings, "2025-11-26 09:35:00")[1]["webhooks.fresh"].passed
    assert not told(settings, "2025-11-26 11:00:00")[1]["webhooks.fresh"].passed


def test_who_may_be_silent_for_ever_is_never_stale(settings: Settings) -> None:
    patient = settings.model_copy(update={"silent_feed_minutes": 0})
    assert told(patient, "2025-11-26 15:00:00")[1]["live_snapshots.fresh"].passed


def test_messages_are_judged_once_half_an_hour_after_the_close(settings: Settings) -> None:
    _, during = told(settings, "2025-11-26 15:59:00")
    assert set(during) == {"live_snapshots.fresh", "webhooks.fresh"}
    _, after = told(settings, "2025-11-26 16:31:00")
    assert len(after) == 8
    assert all(event.passed for event in after.values())
    assert after["option_trades.contracts"].metadata["trading_day"].value == "2025-11-26"
    again = look(settings, int(at("2025-11-26 16:35:00").timestamp() * 1000), "2025-11-26")
    assert isinstance(again, dg.SkipReason)


@pytest.mark.parametrize("moment", ["2025-11-26 23:00:00", "2025-11-27 12:00:00", "2025-11-29 12:00:00"])
def test_nights_holidays_and_weekends_are_left_alone(settings: Settings, moment: str) -> None:
    last = "2025-11-28" if moment > "2025-11-28" else "2025-11-26"
    assert isinstance(look(settings, int(at(moment).timestamp() * 1000), last), dg.SkipReason)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def test_dagster_shows_what_the_sensor_told_and_no_run_was_started(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    context = dg.build_sensor_context(instance=instance, definitions=defs, resources={"settings": settings})
    result = live_tables_sensor.evaluate_tick(context)  # whenever this test runs, the last session is to be judged
    assert {event.asset_key.to_user_string() for event in result.asset_events} == LIVE
    assert not result.run_requests
    assert result.cursor


def test_the_checks_can_be_run_by_hand(settings: Settings, instance: dg.DagsterInstance) -> None:
    job = dg.define_asset_job("by_hand", selection=dg.AssetSelection.checks(live_checks))
    code = dg.Definitions(
        assets=live_assets, asset_checks=[live_checks], jobs=[job], resources={"settings": settings}
    )
    run = code.resolve_job_def("by_hand").execute_in_process(instance=instance)
    assert len(run.get_asset_check_evaluations()) == 8


def test_a_folder_without_a_database_is_left_alone(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    moment = int(at("2025-11-26 10:30:00").timestamp() * 1000)
    assert isinstance(look(settings, moment, JUDGED), dg.SkipReason)
    settings.data_dir.mkdir()
    with lease(settings.database_path, purpose="test") as connection:
        connection.execute("CREATE TABLE gex_snapshots (timestamp BIGINT, ticker VARCHAR)")
    assert isinstance(look(settings, moment, JUDGED), dg.SkipReason)
