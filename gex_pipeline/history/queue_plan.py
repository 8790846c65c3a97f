"""What a tick of the queue sensor does, decided from plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gex_pipeline.storage.request_queue import PENDING, Request
from gex_pipeline.trading_days import FIRST_DAY, is_trading_day, new_york_time

LOST_AFTER_MS = 120_000
FIRST_RETRY_MS = 5_000


@dataclass(frozen=True)
class RunState:
    """What Dagster says of the run of a started request.

    Attributes:
        outcome: running, succeeded or failed.
        error: why it failed, empty otherwise.
        is_transient: whether the failure may go away: the run's process died, or something was busy.
    """

    run_id: str
    outcome: Literal["running", "succeeded", "failed"]
    error: str = ""
    is_transient: bool = False


@dataclass(frozen=True)
class Failed:
    """A request that failed; `try_again` when it becomes pending once more."""

    request: Request
    error: str
    run_id: str | None
    try_again: bool


@dataclass
class Plan:
    """The changes of one tick."""

    launch: list[Request] = field(default_factory=list)
    running: list[tuple[Request, str]] = field(default_factory=list)
    completed: list[tuple[Request, str]] = field(default_factory=list)
    reopened: list[Request] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)


def plan_tick(requests: Sequence[Request], runs: Mapping[int, RunState], *, max_attempts: int, now_ms: int) -> Plan:
    """Decide what happens to the open requests. A time in the future is of a clock that was set back: nobody waits.

    Args:
        requests: the pending and started ones.
        runs: by request id, the run that was launched for a started request, where there is one.
        max_attempts: how many runs a request gets.
        now_ms: epoch milliseconds, UTC.
    """
    plan = Plan()
    for request in requests:
        if request.status == PENDING:
            _plan_pending(plan, request, now_ms)
        else:
            _plan_started(plan, request, runs.get(request.id), max_attempts, now_ms)
    return plan


def _plan_pending(plan: Plan, request: Request, now_ms: int) -> None:
    today = new_york_time(now_ms).date()
    if request.date > today or not is_trading_day(request.date):
        error = f"{request.date} is not an NYSE trading day between {FIRST_DAY} and {today}, so there is no such file"
        plan.failed.append(Failed(request, error, None, try_again=False))
        return
    pause_ms = FIRST_RETRY_MS * 2 ** (request.attempts - 1) if request.attempts else 0
    if request.finished_at is None or not request.finished_at <= now_ms < request.finished_at + pause_ms:
        plan.launch.append(request)


def _plan_started(plan: Plan, request: Request, run: RunState | None, max_attempts: int, now_ms: int) -> None:
    may_try_again = request.attempts < max_attempts
    if run is None:
        started_at_ms = request.started_at or 0
        if not started_at_ms <= now_ms <= started_at_ms + LOST_AFTER_MS:
            error = "the run is gone" if request.run_id else "the run was never launched"
            plan.failed.append(Failed(request, error, None, try_again=may_try_again))
    elif run.outcome == "running":
        if request.run_id != run.run_id:
            plan.running.append((request, run.run_id))
    elif run.outcome == "succeeded" and request.announced_again:
        plan.reopened.append(request)
    elif run.outcome == "succeeded":
        plan.completed.append((request, run.run_id))
    else:
        try_again = request.announced_again or (run.is_transient and may_try_again)
        plan.failed.append(Failed(request, run.error, run.run_id, try_again=try_again))
