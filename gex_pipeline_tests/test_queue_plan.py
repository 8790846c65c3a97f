"""The queue of announced files: what a tick of the sensor decides, from plain values."""

import datetime as dt
from typing import Any

import pytest

from gex_pipeline.feeds import Feed
from gex_pipeline.history.queue_plan import FIRST_RETRY_MS, LOST_AFTER_MS, Plan, RunState, plan_tick
from gex_pipeline.storage.request_queue import Request

DAY = dt.date(2025, 11, 14)
THANKSGIVING = dt.date(2025, 11, 27)
SATURDAY = dt.date(2025, 11, 15)
MONDAY_AFTER = dt.date(2025, 11, 17)
FEED = Feed("NQ_NDX", "gex_zero")
NOW = 1_763_136_000_000  # 11:00 in New York on DAY
MAX_ATTEMPTS = 3


def request(**fields: Any) -> Request:
    values: dict[str, Any] = {
        "id": 7, "ticker": FEED.ticker, "endpoint": FEED.endpoint, "date": DAY, "status": "pending", "attempts": 0,
        "last_error": None, "run_id": None, "announced": 1, "announced_at": NOW - 1000, "started_at": None,
        "finished_at": None,
    }  # fmt: skip
    return Request(**values | fields)


def started(**fields: Any) -> Request:
    return request(
        **{"status": "started", "attempts": 1, "started_at": NOW - 1000, "announced_at": NOW - 2000} | fields
    )


def plan(*requests: Request, run: RunState | None = None, now_ms: int = NOW) -> Plan:
    runs = {each.id: run for each in requests if run is not None}
    return plan_tick(requests, runs, max_attempts=MAX_ATTEMPTS, now_ms=now_ms)


def verdict(plan: Plan) -> tuple[str, str | None, bool]:
    """Return error, run and whether it is tried again of the one failed request of a plan."""
    assert (plan.launch, plan.running, plan.completed) == ([], [], [])
    [failed] = plan.failed
    return failed.error, failed.run_id, failed.try_again


def test_nothing_is_done_about_nothing() -> None:
    assert plan() == Plan()


def test_a_pending_request_is_launched() -> None:
    assert plan(request()) == Plan(launch=[request()])


def test_each_request_of_many_gets_its_own_decision() -> None:
    waiting, at_work = request(id=1), started(id=2)
    runs = {2: RunState("run-2", "succeeded")}
    decided = plan_tick([waiting, at_work], runs, max_attempts=MAX_ATTEMPTS, now_ms=NOW)
    assert decided == Plan(launch=[waiting], completed=[(at_work, "run-2")])


@pytest.mark.parametrize(
    ("attempts", "pause_ms"), [(1, FIRST_RETRY_MS), (2, 2 * FIRST_RETRY_MS), (3, 4 * FIRST_RETRY_MS)]
)
def test_another_attempt_waits_twice_as_long_each_time(attempts: int, pause_ms: int) -> None:
    failed = request(attempts=attempts, finished_at=NOW, last_error="busy")
    assert plan(failed, now_ms=NOW + pause_ms - 1) == Plan()
    assert plan(failed, now_ms=NOW + pause_ms) == Plan(launch=[failed])


def test_a_failed_request_that_is_announced_anew_does_not_wait() -> None:
    assert plan(request(attempts=0, finished_at=None, last_error="expired")).launch
    assert plan(request(attempts=2, finished_at=None, last_error="busy")).launch


@pytest.mark.parametrize(
    "date", [THANKSGIVING, SATURDAY, MONDAY_AFTER, dt.date(2021, 12, 31), dt.date(2099, 1, 5)], ids=str
)
def test_a_day_without_trading_fails_for_good_and_is_not_launched(date: dt.date) -> None:
    error, run_id, try_again = verdict(plan(request(date=date)))
    assert error.startswith(f"{date} is not an NYSE trading day")
    assert (run_id, try_again) == (None, False)


def test_a_launch_without_a_run_is_waited_for_and_then_repeated() -> None:
    launched = started(started_at=NOW)
    assert plan(launched, now_ms=NOW + LOST_AFTER_MS) == Plan()
    late = NOW + LOST_AFTER_MS + 1
    assert verdict(plan(launched, now_ms=late)) == ("the run was never launched", None, True)
    exhausted = started(started_at=NOW, attempts=MAX_ATTEMPTS)
    assert verdict(plan(exhausted, now_ms=late)) == ("the run was never launched", None, False)


def test_a_run_at_work_is_noted_once_however_long_it_takes() -> None:
    run = RunState("run-1", "running")
    late = NOW + 10 * LOST_AFTER_MS
    assert plan(started(), run=run, now_ms=late) == Plan(running=[(started(), "run-1")])
    assert plan(started(run_id="run-1"), run=run, now_ms=late) == Plan()


def test_a_run_that_succeeded_completes_its_request() -> None:
    assert plan(started(), run=RunState("run-1", "succeeded")) == Plan(completed=[(started(), "run-1")])


def test_a_failure_that_may_go_away_is_tried_again_until_the_attempts_are_used_up() -> None:
    run = RunState("run-1", "failed", "busy", is_transient=True)
    assert verdict(plan(started(attempts=MAX_ATTEMPTS - 1), run=run)) == ("busy", "run-1", True)
    assert verdict(plan(started(attempts=MAX_ATTEMPTS), run=run)) == ("busy", "run-1", False)


def test_a_failure_that_will_come_again_is_not_tried_again() -> None:
    run = RunState("run-1", "failed", "2 of 200 records are bad")
    assert verdict(plan(started(), run=run)) == ("2 of 200 records are bad", "run-1", False)


@pytest.mark.parametrize("is_transient", [False, True])
def test_a_request_that_was_refreshed_while_its_run_was_at_work_is_tried_again(is_transient: bool) -> None:
    run = RunState("run-1", "failed", "the link has expired", is_transient)
    refreshed = started(attempts=MAX_ATTEMPTS, announced_again=True)
    assert verdict(plan(refreshed, run=run)) == ("the link has expired", "run-1", True)
    assert verdict(plan(started(attempts=MAX_ATTEMPTS, announced_at=NOW - 1000), run=run))[2] is False


def test_a_request_that_was_announced_again_while_its_run_was_at_work_is_imported_once_more() -> None:
    decided = plan(started(announced_again=True), run=RunState("run-1", "succeeded"))
    assert (len(decided.reopened), decided.completed) == (1, [])
