"""What the gateway takes: every shape of a capture, over real HTTP, down to its table."""

import datetime as dt
import json

import pytest
import requests

from gex_pipeline.feeds import Feed, request_id
from gex_pipeline_tests.gateway_requests import CAPTURES, ROUTES, SNAPSHOT, get, journal_bytes, post, problems
from gex_pipeline_tests.processes import GatewayProcess
from webhook_gateway.bodies import MAX_BODY_BYTES


@pytest.mark.parametrize(
    ("body", "second", "ticker"),
    [
        (SNAPSHOT | {"timestamp": 1763130610}, 10, "SPX"),
        (SNAPSHOT | {"timestamp": 1763130611000, "ticker": " nq_ndx "}, 11, "NQ_NDX"),
        (SNAPSHOT | {"timestamp": "2025-11-14T09:30:12-05:00", "strikes": [{"strike": 1, "gamma": "2"}]}, 12, "SPX"),
        ({"timestamp": 1763130613, "ticker": "SPX", "spot_price": 1}, 13, "SPX"),
        (SNAPSHOT | {"timestamp": 1763130614, "endpoint": "gex_full", "never_seen": [{}]}, 14, "SPX"),
        (json.dumps(SNAPSHOT | {"timestamp": 1763130615}, indent=2), 15, "SPX"),
    ],
)
def test_a_snapshot_is_accepted_and_loaded(gateway: GatewayProcess, body: object, second: int, ticker: str) -> None:
    answer = post(gateway, "/gex", body)
    assert (answer.status_code, answer.json()) == (202, {"status": "ok", "ticker": ticker})
    gateway.wait_until_loaded()
    loaded = gateway.rows("SELECT ticker, timestamp - 1763130600000 FROM gex_snapshots")
    assert (ticker, second * 1000) in loaded


@pytest.mark.parametrize(
    ("frame", "topic", "event"),
    [
        (
            [None, None, "option_trades_super_algo:SPX", "new_msg", {"data": []}],
            "option_trades_super_algo:SPX",
            "new_msg",
        ),
        (["flow-alerts", {"ticker": "TSLA"}], "flow-alerts", None),
        ({"topic": "price:SPX", "event_type": "tick", "payload": {"price": 1}}, "price:SPX", "tick"),
        ({"channel": "news", "event": "new", "data": "text"}, "news", "new"),
    ],
)
def test_each_frame_of_a_message_is_received_and_loaded(
    gateway: GatewayProcess, frame: object, topic: str, event: str | None
) -> None:
    answer = post(gateway, "/uw", frame)
    assert (answer.status_code, answer.json()) == (200, {"status": "received", "message": f"stored for {topic}"})
    gateway.wait_until_loaded()
    [row] = gateway.rows(
        "SELECT topic, event FROM universal_webhooks ORDER BY ALL DESC LIMIT 1".replace("ALL", "journal_offset")
    )
    assert row == (topic, event)


@pytest.mark.parametrize(
    "frame",
    [
        [None, "7", "phoenix", "heartbeat", {}],
        ["1", "1", "option_trades:SPX", "phx_reply", {"status": "ok", "response": {}}],
        ["1", "1", "option_trades:SPX", "phx_close", {}],
        ["flow-alerts", {"response": {}, "status": "ok"}],
        {"topic": "gex:SPX", "payload": {"status": "ok", "response": {}}},
    ],
)
def test_control_messages_are_acknowledged_and_not_stored(gateway: GatewayProcess, frame: object) -> None:
    before = journal_bytes(gateway)
    answer = post(gateway, "/uw", frame)
    assert (answer.status_code, answer.json()["status"]) == (200, "received")
    assert "control" in answer.json()["message"]
    assert journal_bytes(gateway) == before


@pytest.mark.parametrize(
    ("name", "fields", "feed"),
    [
        ("gb-nqndx/2025-11-14_NQ_NDX_classic_gex_one.json?sig=1", {}, "NQ_NDX:gex_one"),
        ("2025-11-14_SPX_classic.json.gz", {}, "SPX:gex_zero"),
        ("2025-11-14_SPX_classic.json", {"type": "full"}, "SPX:gex_full"),
        (
            "2025-11-14_NQ_NDX_classic_gex_zero.json",
            {"ticker": "NDX", "endpoint": "gex_full", "date": "2025-01-02"},
            "NQ_NDX:gex_zero",
        ),
        ("day", {"ticker": "spx", "endpoint": "gex_one", "date": "2025-11-14"}, "SPX:gex_one"),
        ("day", {"symbol": "SPX", "feed": "one", "trading_day": "20251114"}, "SPX:gex_one"),
        ("day", {"underlying": "SPX", "kind": "gex_full", "day": "2025-11-14"}, "SPX:gex_full"),
        ("day", {"ticker": "SPX", "gex_type": "ONE", "metadata": {"date": "2025-11-14"}}, "SPX:gex_one"),
        ("20251114", {"ticker": "SPX", "whatever": "gex_full"}, "SPX:gex_full"),
        ("20251114", {"ticker": "SPX", "type": "history"}, "SPX:gex_zero"),
    ],
)
def test_ticker_endpoint_and_day_come_from_the_files_name_or_else_from_the_body(
    gateway: GatewayProcess, name: str, fields: dict[str, object], feed: str
) -> None:
    answer = post(gateway, "/gex_history_url", {"url": f"https://hist.gex.bot/{name}"} | fields)
    assert answer.status_code == 202
    assert answer.json() == {
        "status": "queued",
        "id": request_id(Feed.parse(feed), dt.date(2025, 11, 14)),
        "ticker": feed.partition(":")[0],
        "endpoint": feed.partition(":")[2],
        "date": "2025-11-14",
        "duckdb_path": str(gateway.data_dir / "gex_data.db"),
        "parquet_dir": str(gateway.data_dir / "parquet"),
    }


@pytest.mark.parametrize("content_type", ["text/plain", "text/plain;charset=UTF-8", "application/vnd.api+json", ""])
@pytest.mark.parametrize(("path", "body", "status"), CAPTURES)
def test_browsers_may_send_plain_text_and_anybody_json_by_another_name(
    gateway: GatewayProcess, path: str, body: object, status: int, content_type: str
) -> None:
    assert post(gateway, path, body, content_type=content_type).status_code == status


def test_a_body_may_be_as_large_as_the_limit_and_no_larger(gateway: GatewayProcess) -> None:
    body = json.dumps(SNAPSHOT | {"note": ""})
    largest = body.replace('"note": "', '"note": "' + "x" * (MAX_BODY_BYTES - len(body)))
    assert post(gateway, "/gex", largest).status_code == 202
    for too_large in (largest + " ", iter([largest.encode(), b" "])):
        answer = requests.post(f"{gateway.url}/gex", data=too_large, timeout=30)
        assert answer.status_code == 413
        [problem] = problems(answer)
        assert problem["expected"] == f"at most {MAX_BODY_BYTES} bytes"


def test_every_example_of_the_openapi_document_is_accepted(gateway: GatewayProcess) -> None:
    document = get(gateway, "/openapi.json").json()
    tried = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                for name, example in content["examples"].items():
                    answer = post(gateway, path, example["value"], content_type=kind)
                    assert answer.ok, (path, name, answer.text)
                    assert str(answer.status_code) in operation["responses"]
                    tried.append((method, path))
    assert set(tried) == {("post", path) for path in ROUTES}


def test_a_body_that_ends_with_a_line_break_reaches_its_table(gateway: GatewayProcess) -> None:
    body = b' {"timestamp": 1763130602, "ticker": "BLANKS",\n "spot": 1.5}\r\n'
    answer = requests.post(f"{gateway.url}/gex", data=body, headers={"Content-Type": "application/json"}, timeout=30)
    assert answer.status_code == 202
    gateway.wait_until_loaded(30)
    assert gateway.rows("SELECT spot_price FROM gex_snapshots WHERE ticker = 'BLANKS'") == [(1.5,)]
