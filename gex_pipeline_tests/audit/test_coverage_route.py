"""`GET /coverage` of a running gateway."""

import time
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from gex_pipeline.audit.coverage import find_coverage
from gex_pipeline.clock import epoch_ms
from gex_pipeline.settings import load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.audit.stored_days import DATES, LAST, PARTITION, SPOILED
from gex_pipeline_tests.gateway_requests import KEY, SNAPSHOT, get, post, problems
from gex_pipeline_tests.processes import GatewayProcess, running_gateway

RANGE = f"start={DATES[0]}&end={LAST}"


@pytest.fixture(scope="module")
def serving(days: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway of days that are well, but for one without Parquet."""
    data_dir = copytree(days, tmp_path_factory.mktemp("serving") / "data")
    PARTITION.published(load_settings(data_dir=data_dir), "snapshots").unlink()
    PARTITION.published(load_settings(data_dir=data_dir), "strikes").unlink()
    with running_gateway(data_dir, GEX_API_KEY=KEY) as gateway:
        yield gateway


def ask(gateway: GatewayProcess, query: str) -> Any:
    answer = get(gateway, f"/coverage?{query}", {"X-API-Key": KEY})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_it_answers_what_the_audit_finds_by_feed_and_date(serving: GatewayProcess) -> None:
    found = find_coverage(load_settings(data_dir=serving.data_dir), (), None, LAST, epoch_ms())
    listed = ask(serving, RANGE)
    assert listed == [day.public() for day in found.days]
    assert [day["date"] for day in listed] == [date.isoformat() for date in DATES]
    assert [day["state"] for day in listed if day["date"] != SPOILED.isoformat()] == ["complete"] * 4
    assert next(day["state"] for day in listed if day["date"] == SPOILED.isoformat()) == "never_exported"


def test_feeds_and_days_are_chosen(serving: GatewayProcess) -> None:
    assert len(ask(serving, f"{RANGE}&feed=spx:zero&feed=NDX:gex_one")) == 5
    assert ask(serving, f"{RANGE}&feed=NDX:gex_one") == []
    assert [day["date"] for day in ask(serving, f"start={SPOILED}&end={SPOILED}")] == [SPOILED.isoformat()]


def test_without_a_start_it_is_the_last_ninety_days(serving: GatewayProcess) -> None:
    # Of the feed's days, which go on until today, each of the last 90 days that is a session.
    dates = [day["date"] for day in ask(serving, "")]
    assert 55 <= len(dates) <= 66
    assert dates == sorted(dates)


@pytest.mark.parametrize(
    ("query", "field", "value", "expected"),
    [
        ("feed=SPX", "feed", "SPX", "TICKER:endpoint, for example NQ_NDX:gex_zero"),
        ("feed=../x:gex_zero", "ticker", "../x", "a ticker such as SPX or NQ_NDX"),
        ("start=yesterday", "start", "yesterday", "a day such as 2025-11-14"),
        ("end=2025-02-30", "end", "2025-02-30", "a day such as 2025-11-14"),
        ("start=2025-11-14&end=2025-11-13", "end", "2025-11-13", "no day before the start, 2025-11-14"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_reason(
    serving: GatewayProcess, query: str, field: str, value: str, expected: str
) -> None:
    answer = get(serving, f"/coverage?{query}", {"X-API-Key": KEY})
    assert answer.status_code == 400
    assert problems(answer) == [{"field": field, "value": value, "expected": expected}]


def test_the_page_is_told_the_last_snapshot_of_each_feed_that_is_stored(serving: GatewayProcess) -> None:
    answer = get(serving, "/page/feeds", {"X-API-Key": KEY})
    assert answer.json() == {"SPX:gex_zero": max(day["last"] for day in ask(serving, RANGE))}
    assert int(answer.headers["x-gex-as-of"]) <= epoch_ms()
    assert get(serving, "/page/feeds").status_code == 401


def test_it_needs_the_key(serving: GatewayProcess) -> None:
    assert get(serving, f"/coverage?{RANGE}").status_code == 401


def test_the_last_answer_is_given_at_once_while_the_database_is_held(serving: GatewayProcess) -> None:
    before = ask(serving, RANGE)
    with lease(serving.data_dir / "gex_data.db", purpose="hold it", timeout_seconds=20):
        started = time.monotonic()
        assert ask(serving, RANGE) == before
        assert post(serving, "/gex", SNAPSHOT, X_API_Key=KEY).status_code == 202
        assert time.monotonic() - started < 5


def test_where_the_answer_cannot_be_found_it_is_unavailable_and_one_that_is_found_says_of_when_it_is(
    tmp_path: Path,
) -> None:
    data_dir = tmp_path / "data"
    with running_gateway(data_dir) as gateway:
        # The child reads its settings anew, and finds a wrong one.
        (tmp_path / ".env").write_text("GEX_PORT=none\n")
        answer = get(gateway, "/coverage")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert "python -m gex_pipeline.audit" in problems(answer)[0]["expected"]
        (tmp_path / ".env").unlink()
        before = epoch_ms()
        found = get(gateway, "/coverage")
        assert found.json() == []
        found_at = int(found.headers["x-gex-as-of"])
        assert before <= found_at <= epoch_ms()
        # It is not looked for again at once.
        assert int(get(gateway, "/coverage").headers["x-gex-as-of"]) == found_at
