"""The schedule that fetches by itself, and the sensor that warns of what GexBot deletes, with a GexBot to ask."""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from gex_pipeline.clock import epoch_ms
from gex_pipeline.definitions import defs
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.feeds import Feed, WantedFeed
from gex_pipeline.history import gexbot_api
from gex_pipeline.history.fetch_plan import STEP, missing_days
from gex_pipeline.history.fetching import FETCH_TAG, absences, failed_fetches
from gex_pipeline.history.partitions import FEEDS
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.trading_days import NEW_YORK
from gex_pipeline_tests.live_days import at
from gex_pipeline_tests.records import import_records, record
from gex_pipeline_tests.upkeep.messages import messages_of

# Said of the tags that Dagster itself gives a run of two dimensions.
pytestmark = pytest.mark.filterwarnings("ignore:Non-compliant tag keys:DeprecationWarning")

ZERO, FULL = Feed("SPX", "gex_zero"), Feed("NQ_NDX", "gex_full")
FRIDAY = "2025-11-14"
Tick = Callable[..., tuple[list[str], str]]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gexbot_api, "TURN_SECONDS", 0.0)


@pytest.fixture
def gexbot(tmp_path: Path) -> Iterator[GexBotStandIn]:
    (tmp_path / "gexbot").mkdir()
    with GexBotStandIn(tmp_path / "gexbot") as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, gexbot: GexBotStandIn) -> Settings:
    return load_settings(
        data_dir=tmp_path / "data",
        feeds="SPX:gex_zero,NQ_NDX:gex_full",
        gexbot_api_key="demo-key",
        gexbot_api_url=f"{gexbot.base_url}/v2",
    )


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster with a storage of its own, which a schedule's context opens a second time."""
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield instance


@pytest.fixture
def tick(settings: Settings, instance: dg.DagsterInstance) -> Tick:
    """Evaluates the schedule at a moment in New York; returns the partitions it wants runs of, or why none."""

    def tick(moment: dt.datetime, settings: Settings = settings) -> tuple[list[str], str]:
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=moment,
            resources={"settings": settings},
            repository_def=defs.get_repository_def(),
        ) as context:
            evaluated = defs.resolve_schedule_def("daily_fetch").evaluate_tick(context)
        requests = evaluated.run_requests or []
        assert all(request.tags[FETCH_TAG] == "daily" for request in requests)
        return [request.partition_key or "" for request in requests], evaluated.skip_message or ""

    return tick


def publish(gexbot: GexBotStandIn, *partitions: Partition) -> None:
    for each in partitions:
        name = f"{each.date}_{each.feed.ticker}_classic_{each.feed.endpoint}.json"
        (gexbot.directory / name).write_text("[]")


def narrow(monkeypatch: pytest.MonkeyPatch, days: int = 0) -> None:
    """Have GexBot keep files for a few days only, so that few have to be imported first."""
    for module in ("gexbot_api", "fetch_plan", "fetching"):
        monkeypatch.setattr(f"gex_pipeline.history.{module}.KEPT_DAYS", days)


@pytest.mark.parametrize("unset", [{"gexbot_api_key": None}, {"feeds": ()}, {"gexbot_api_key": None, "feeds": ()}])
def test_without_a_key_or_feeds_it_says_why_it_does_nothing(
    settings: Settings, tick: Tick, unset: dict[str, object]
) -> None:
    wanted, why = tick(at(f"{FRIDAY} 16:45:00"), settings.model_copy(update=unset))
    assert wanted == []
    assert "GEXBOT_API_KEY and GEX_FEEDS are not both set" in why


def test_it_runs_by_default_from_the_close_of_a_half_day_on() -> None:
    schedule = defs.resolve_schedule_def("daily_fetch")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert (schedule.cron_schedule, schedule.execution_timezone) == (
        ["15,45 13-23 * * 1-5", "15 8 * * *"],
        "America/New_York",
    )


def test_a_day_that_is_not_published_yet_waits_without_a_run_and_is_fetched_when_it_is(
    gexbot: GexBotStandIn,
    settings: Settings,
    instance: dg.DagsterInstance,
    tick: Tick,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    narrow(monkeypatch)
    zero, full = (Partition(feed, dt.date(2025, 11, 14)) for feed in (ZERO, FULL))
    wanted, why = tick(at(f"{FRIDAY} 16:15:00"))
    assert wanted == []
    assert [line.partition(": ")[0] for line in why.splitlines()] == [full.key, zero.key]
    assert why.count("the file is not published yet; the session closed at 16:00") == 2
    publish(gexbot, full)
    assert tick(at(f"{FRIDAY} 16:45:00"))[0] == [full.key]
    assert instance.get_dynamic_partitions(FEEDS.name or "") == [FULL.key]
    publish(gexbot, zero)
    import_records(settings, record(0), partition=full)
    asked = len(gexbot.requests)
    assert tick(at(f"{FRIDAY} 17:15:00"))[0] == [zero.key]
    assert len(gexbot.requests) == asked + 1, "what is imported is not asked for"
    import_records(settings, record(0), partition=zero)
    assert tick(at(f"{FRIDAY} 17:45:00")) == ([], "there is nothing to fetch")
    assert len(gexbot.requests) == asked + 1


def test_missed_evenings_are_caught_up_in_steps_the_last_session_first(
    gexbot: GexBotStandIn, settings: Settings, tick: Tick
) -> None:
    now = at(f"{FRIDAY} 20:15:00")
    missing = missing_days(settings.feeds, [], int(now.timestamp() * 1000))
    publish(gexbot, *missing)
    wanted, _ = tick(now)
    assert wanted == [each.key for each in missing[-2:] + missing[: STEP - 2]]
    assert len(gexbot.requests) == STEP


def test_what_is_under_way_is_neither_asked_for_nor_started_again(
    gexbot: GexBotStandIn,
    instance: dg.DagsterInstance,
    tick: Tick,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    narrow(monkeypatch)
    publish(gexbot, *(Partition(feed, dt.date(2025, 11, 14)) for feed in (ZERO, FULL)))
    instance.create_run_for_job(
        defs.resolve_job_def("history_import"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": f"{FRIDAY}|SPX:gex_zero"},
    )
    assert tick(at(f"{FRIDAY} 20:15:00"))[0] == [f"{FRIDAY}|NQ_NDX:gex_full"]


def test_a_refused_key_ends_the_tick_after_one_question(
    gexbot: GexBotStandIn, settings: Settings, tick: Tick
) -> None:
    wrong = load_settings(
        data_dir=settings.data_dir,
        feeds="SPX:gex_zero",
        gexbot_api_key="SECRET-KEY",
        gexbot_api_url=settings.gexbot_api_url,
    )
    wanted, why = tick(at(f"{FRIDAY} 20:15:00"), wrong)
    assert (wanted, len(gexbot.requests)) == ([], 1)
    assert "GexBot refuses the key" in why
    assert "SECRET-KEY" not in why


def test_a_feed_that_is_denied_does_not_keep_the_others_waiting(
    gexbot: GexBotStandIn, settings: Settings, tick: Tick
) -> None:
    now = at(f"{FRIDAY} 20:15:00")
    publish(gexbot, *missing_days(settings.feeds, [], int(now.timestamp() * 1000)))
    gexbot.not_entitled.add("NQ_NDX")
    wanted, _ = tick(now)
    assert {key.partition("|")[2] for key in wanted} == {"SPX:gex_zero"}
    assert len(wanted) == STEP // 2
    assert [request.status for request in gexbot.requests].count(403) == 1


def test_a_day_that_gexbot_does_not_have_is_noted_with_the_asset_and_not_asked_for_again_that_day(
    gexbot: GexBotStandIn,
    settings: Settings,
    instance: dg.DagsterInstance,
    tick: Tick,
) -> None:
    now = dt.datetime.now(NEW_YORK)
    missing = missing_days([WantedFeed(ZERO)], [], int(now.timestamp() * 1000))
    one_feed = settings.model_copy(update={"feeds": (WantedFeed(ZERO),)})
    publish(gexbot, *missing[1:])
    wanted, _ = tick(now, one_feed)
    assert missing[0].key not in wanted
    assert absences(instance, now) == {missing[0]: [now.date()]}
    asked = [request.path for request in gexbot.requests]
    tick(now, one_feed)
    assert [request.path for request in gexbot.requests].count(asked[1]) == 1


def test_a_fetch_that_failed_is_not_started_again_the_same_day(
    gexbot: GexBotStandIn, settings: Settings, instance: dg.DagsterInstance, tick: Tick
) -> None:
    now = dt.datetime.now(NEW_YORK)
    missing = missing_days(settings.feeds, [], int(now.timestamp() * 1000))
    publish(gexbot, *missing)
    [first, *others], _ = tick(now)
    instance.create_run_for_job(
        defs.resolve_job_def("history_import"),
        status=dg.DagsterRunStatus.FAILURE,
        tags={"dagster/partition": first, FETCH_TAG: "daily"},
    )
    assert failed_fetches(instance, now) == {Partition.parse(first): [now.date()]}
    again, _ = tick(now)
    assert first not in again
    assert again[: len(others)] == others


# The sensor


def warn(
    settings: Settings, instance: dg.DagsterInstance, cursor: str | None = None
) -> tuple[str, list[dict[str, str]], str | None]:
    """Evaluate the sensor; return what its tick says, what operators are told, and its cursor."""
    with dg.build_sensor_context(
        instance=instance, resources={"settings": settings}, cursor=cursor, repository_def=defs.get_repository_def()
    ) as context:
        evaluated = defs.resolve_sensor_def("history_expiry_sensor").evaluate_tick(context)
    told = [each for run in evaluated.run_requests or [] for each in messages_of(run)]
    return evaluated.skip_message or "", told, evaluated.cursor


def test_days_about_to_be_lost_are_shown_and_told_once_a_day(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    alone = load_settings(data_dir=settings.data_dir, feeds="SPX:gex_zero")
    oldest = missing_days([WantedFeed(ZERO)], [], epoch_ms())[0]
    said, _, cursor = warn(alone, instance)
    assert cursor is None
    assert said.startswith("GexBot will delete these days, which are not imported. Backfill them:\n")
    assert said.splitlines()[1] == f"{oldest.key}: until {oldest.date + dt.timedelta(days=90)}"
    assert 5 <= len(said.splitlines()) <= 10
    watched = alone.model_copy(update={"notify_urls": (SecretStr("json://127.0.0.1:1"),)})
    _, told, cursor = warn(watched, instance, cursor)
    assert told == [{"title": f"{len(said.splitlines()) - 1} days are about to be lost", "text": said}]
    assert warn(watched, instance, cursor) == (said, [], cursor)
    import_records(watched, record(0), partition=oldest)
    assert oldest.key not in warn(watched, instance, cursor)[0]


def test_nothing_is_warned_of_without_feeds(settings: Settings, instance: dg.DagsterInstance) -> None:
    said, _, _ = warn(settings.model_copy(update={"feeds": ()}), instance)
    assert said == "GexBot deletes nothing soon that is missing here"
