"""What a run of a backfill says when GexBot gives no file, and that its neighbours do not care."""

import datetime as dt

import dagster as dg
import pytest

from gex_pipeline.clock import epoch_ms
from gex_pipeline.history import gexbot_api
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import load_settings
from gex_pipeline.trading_days import sessions_before
from gex_pipeline_tests.history_import.world import ZERO, World, failure, retries

BEFORE, RECENT, AFTER = (Partition(ZERO.feed, day) for day in sessions_before(epoch_ms(), 5)[:3])
EXPIRED = Partition(ZERO.feed, dt.date(2025, 11, 14))


@pytest.fixture(autouse=True)
def use_the_api(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the job a key to GexBot's API, which it may ask without pausing."""
    monkeypatch.setattr(gexbot_api, "TURN_SECONDS", 0.0)
    use_key(world, "demo-key")


def use_key(world: World, key: str) -> None:
    api = {"gexbot_api_key": key, "gexbot_api_url": f"{world.gexbot.base_url}/v2"}
    world.settings = load_settings(data_dir=world.settings.data_dir, history_hosts=world.gexbot.host, **api)


def known(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    """Return the metadata of the step that failed."""
    [event] = [event for event in result.all_node_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return {name: value.value for name, value in data.metadata.items()}


def test_one_bad_day_fails_alone_and_says_that_there_is_no_such_day(world: World) -> None:
    for partition in (BEFORE, AFTER):
        world.write(partition, snapshots=20, strikes=2)
    results = {partition: world.run(partition) for partition in (BEFORE, RECENT, AFTER)}
    assert {partition: result.success for partition, result in results.items()} == {
        BEFORE: True,
        RECENT: False,
        AFTER: True,
    }
    bad = results[RECENT]
    assert failure(bad).endswith("answered 404: GexBot has no such day of this feed")
    assert known(bad) == {"reason": "no such day", "status": 404}
    assert retries(bad) == 0


def test_a_refused_key_is_not_tried_again(world: World) -> None:
    use_key(world, "SECRET-KEY")
    result = world.run(RECENT)
    assert "GexBot refuses the key; check GEXBOT_API_KEY" in failure(result)
    assert known(result) == {"reason": "key refused", "status": 401}
    assert (retries(result), len(world.gexbot.requests)) == (0, 1)


@pytest.mark.usefixtures("short_pauses")
def test_a_denial_that_may_be_a_throttle_is_tried_again_and_then_says_both(world: World) -> None:
    world.gexbot.not_entitled.add("NQ_NDX")
    result = world.run(RECENT)
    assert "either the account may not have NQ_NDX:gex_zero, or it was asked too often" in failure(result)
    assert known(result) == {"reason": "denied or throttled", "status": 403, "is_transient": True}
    assert (retries(result), len(world.gexbot.requests)) == (3, 4)


def test_an_expired_day_is_said_without_asking(world: World) -> None:
    result = world.run(EXPIRED)
    assert "GexBot keeps history files for 90 days and 2025-11-14 is older" in failure(result)
    assert known(result) == {"reason": "expired"}
    assert (retries(result), world.gexbot.requests) == (0, [])
