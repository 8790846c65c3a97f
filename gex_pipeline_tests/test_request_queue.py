"""The request queue: what each call makes of a request."""

from __future__ import annotations  # evaluated, they would keep DuckDB types alive

import datetime as dt
import json
from typing import Any

import duckdb
import pytest

from gex_pipeline.clock import epoch_ms
from gex_pipeline.feeds import Feed, request_id
from gex_pipeline.storage import request_queue
from gex_pipeline.storage.request_queue import Request

ZERO, ONE = Feed("SPX", "gex_zero"), Feed("SPX", "gex_one")
DAY = dt.date(2026, 4, 29)


# The request queue

KEY = request_id(ZERO, DAY)
SIGNED = "https://hist.gex.bot/2026-04-29_SPX_classic_gex_zero.json?sig=1"
SIGNED_AGAIN = SIGNED.replace("sig=1", "sig=2")


def announce(connection: duckdb.DuckDBPyConnection, url: str = SIGNED, at_ms: int = 1000, **changes: Any) -> None:
    named: dict[str, Any] = {"feed": ZERO, "date": DAY} | changes
    request_queue.announce(
        connection, named["feed"], named["date"], url=url, metadata='{"a":1}', announced_at_ms=at_ms
    )


def the_request(connection: duckdb.DuckDBPyConnection) -> Request:
    found = request_queue.find_request(connection, KEY)
    assert found is not None
    return found


def test_an_announced_file_is_pending(database: duckdb.DuckDBPyConnection) -> None:
    assert request_queue.find_request(database, KEY) is None
    assert request_queue.find_announcement(database, ZERO, DAY) is None
    announce(database)
    assert the_request(database) == Request(
        KEY, "SPX", "gex_zero", DAY, "pending", 0, None, None, announced=1, announced_at=1000, started_at=None,
        finished_at=None,
    )  # fmt: skip
    assert the_request(database).feed == ZERO
    assert request_queue.find_announcement(database, ZERO, DAY) == (SIGNED, 1000)
    assert request_queue.find_announcement(database, ONE, DAY) is None
    assert database.execute("SELECT metadata FROM gex_history_queue").fetchall() == [('{"a":1}',)]


def test_a_file_announced_again_refreshes_its_request(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    announce(database, SIGNED_AGAIN, 2000)
    request = the_request(database)
    assert (request.status, request.announced, request.announced_at) == ("pending", 2, 2000)
    assert request_queue.find_announcement(database, ZERO, DAY) == (SIGNED_AGAIN, 2000)
    assert len(request_queue.list_requests(database)) == 1


def test_a_request_goes_from_pending_over_started_to_completed(database: duckdb.DuckDBPyConnection) -> None:
    before_ms = epoch_ms()
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    request = the_request(database)
    assert (request.status, request.attempts, request.run_id, request.started_at) == ("started", 1, None, 5000)
    request_queue.mark_running(database, KEY, "run 1")
    assert (the_request(database).status, the_request(database).run_id) == ("started", "run 1")
    request_queue.mark_completed(database, KEY, "run 1")
    request = the_request(database)
    assert (request.status, request.attempts, request.run_id) == ("completed", 1, "run 1")
    assert (request.last_error, request.started_at) == (None, 5000)
    assert request.finished_at is not None
    assert before_ms <= request.finished_at <= epoch_ms()


def test_a_signed_url_is_kept_until_the_request_is_completed_and_then_forgotten(
    database: duckdb.DuckDBPyConnection,
) -> None:
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_failed(database, KEY, error="lost", run_id="run", try_again=True)
    request_queue.mark_started(database, KEY, 5000)
    assert request_queue.find_announcement(database, ZERO, DAY) == (SIGNED, 1000)
    request_queue.mark_completed(database, KEY, "run")
    assert request_queue.find_announcement(database, ZERO, DAY) is None
    assert "sig" not in str(database.execute("FROM gex_history_queue").fetchall())


def test_a_url_without_a_signature_outlives_its_request(database: duckdb.DuckDBPyConnection) -> None:
    plain = SIGNED.partition("?")[0]
    announce(database, plain)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_completed(database, KEY, "run")
    assert request_queue.find_announcement(database, ZERO, DAY) == (plain, 1000)


def test_a_failed_attempt_is_tried_again_or_is_the_end(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    for attempt, try_again in ((1, True), (2, False)):
        request_queue.mark_started(database, KEY, 5000)
        request_queue.mark_failed(
            database, KEY, error=f"error {attempt}", run_id=f"run {attempt}", try_again=try_again
        )
        request = the_request(database)
        assert request.status == ("pending" if try_again else "failed")
        assert (request.attempts, request.last_error, request.run_id) == (
            attempt,
            f"error {attempt}",
            f"run {attempt}",
        )
        assert request.finished_at is not None


def test_a_failure_without_a_run_keeps_the_run_that_was_noted(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_running(database, KEY, "run 1")
    request_queue.mark_failed(database, KEY, error="lost", run_id=None, try_again=True)
    assert the_request(database).run_id == "run 1"
    request_queue.mark_started(database, KEY, 5000)
    assert (the_request(database).run_id, the_request(database).finished_at) == (None, None)


def test_a_completed_attempt_after_a_failed_one_clears_the_error(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_failed(database, KEY, error="once", run_id="1", try_again=True)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_completed(database, KEY, "2")
    assert (the_request(database).attempts, the_request(database).last_error) == (2, None)


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_finished_request_announced_again_is_pending_anew(database: duckdb.DuckDBPyConnection, end: str) -> None:
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    if end == "completed":
        request_queue.mark_completed(database, KEY, "run")
    else:
        request_queue.mark_failed(database, KEY, error="gone", run_id="run", try_again=False)
    announce(database, SIGNED_AGAIN, 2000)
    request = the_request(database)
    assert (request.status, request.attempts, request.announced, request.finished_at) == ("pending", 0, 2, None)
    assert request_queue.find_announcement(database, ZERO, DAY) == (SIGNED_AGAIN, 2000)


def test_a_started_request_announced_again_goes_on(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_running(database, KEY, "run")
    announce(database, SIGNED_AGAIN, 2000)
    request = the_request(database)
    assert (request.status, request.attempts, request.run_id, request.announced) == ("started", 1, "run", 2)
    assert request_queue.find_announcement(database, ZERO, DAY) == (SIGNED_AGAIN, 2000)


def bring_to(state: str, database: duckdb.DuckDBPyConnection) -> None:
    """Announce a request and start it; end it when that is what is asked."""
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    if state == "completed":
        request_queue.mark_completed(database, KEY, "run")
    if state == "failed":
        request_queue.mark_failed(database, KEY, error="gone", run_id="run", try_again=False)


def test_an_import_by_other_means_completes_a_failed_request_which_keeps_its_error(
    database: duckdb.DuckDBPyConnection,
) -> None:
    bring_to("failed", database)
    request_queue.mark_imported(database, ZERO, DAY + dt.timedelta(days=1), "another day")
    assert the_request(database).status == "failed"
    request_queue.mark_imported(database, ZERO, DAY, "import")
    request = the_request(database)
    assert (request.status, request.run_id, request.last_error) == ("completed", "import", "gone")
    assert request_queue.find_announcement(database, ZERO, DAY) is None


@pytest.mark.parametrize("state", ["pending", "started", "completed"])
def test_an_import_by_other_means_changes_no_request_that_has_not_failed(
    database: duckdb.DuckDBPyConnection, state: str
) -> None:
    if state == "pending":
        announce(database)
    else:
        bring_to(state, database)
    before = the_request(database)
    request_queue.mark_imported(database, ZERO, DAY, "import")
    assert the_request(database) == before


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_a_request_that_has_ended_cannot_run_or_end_again(database: duckdb.DuckDBPyConnection, state: str) -> None:
    bring_to(state, database)
    before = the_request(database)
    assert before.status == state
    request_queue.mark_running(database, KEY, "late")
    request_queue.mark_completed(database, KEY, "late")
    request_queue.mark_failed(database, KEY, error="late", run_id="late", try_again=True)
    assert the_request(database) == before


def test_a_pending_request_can_fail_without_a_run_but_not_complete(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    request_queue.mark_running(database, KEY, "early")
    request_queue.mark_completed(database, KEY, "early")
    assert (the_request(database).status, the_request(database).run_id) == ("pending", None)
    request_queue.mark_failed(database, KEY, error="a holiday", run_id=None, try_again=False)
    assert (the_request(database).status, the_request(database).last_error) == ("failed", "a holiday")


@pytest.mark.parametrize("state", ["started", "completed", "failed"])
def test_only_a_pending_request_is_started(database: duckdb.DuckDBPyConnection, state: str) -> None:
    bring_to(state, database)
    before = the_request(database)
    request_queue.mark_started(database, KEY, 5000)
    assert the_request(database) == before


def test_requests_are_listed_by_status_the_last_announced_first(database: duckdb.DuckDBPyConnection) -> None:
    days = [DAY + dt.timedelta(days=day) for day in range(3)]
    for at_ms, day in enumerate(days):
        announce(database, at_ms=at_ms, date=day)
    request_queue.mark_started(database, request_id(ZERO, days[1]), 5000)
    listed = request_queue.list_requests
    assert [request.date for request in listed(database)] == days[::-1]
    assert [request.date for request in listed(database, limit=1)] == days[2:]
    assert [request.date for request in listed(database, statuses=["pending"])] == [days[2], days[0]]
    assert [request.date for request in listed(database, statuses=request_queue.OPEN)] == days[::-1]
    assert listed(database, statuses=["failed"]) == listed(database, statuses=[]) == []


def test_what_is_done_to_one_request_leaves_the_others_alone(database: duckdb.DuckDBPyConnection) -> None:
    for feed, date in ((ZERO, DAY), (ONE, DAY), (ZERO, DAY + dt.timedelta(days=1))):
        announce(database, feed=feed, date=date)
    others = [request for request in request_queue.list_requests(database) if request.id != KEY]
    assert len(others) == 2
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_running(database, KEY, "run")
    request_queue.mark_failed(database, KEY, error="gone", run_id="run", try_again=True)
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_completed(database, KEY, "run")
    assert [request for request in request_queue.list_requests(database) if request.id != KEY] == others


def test_a_request_is_shown_without_its_url(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    shown = json.dumps(the_request(database).public())
    assert json.loads(shown)["date"] == "2026-04-29"
    assert json.loads(shown)["id"] == KEY
    assert "sig" not in shown
    assert "http" not in shown
