"""The gateway over real HTTP: what it takes, what it refuses and how it says so."""

import datetime as dt
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from gex_pipeline.feeds import Feed, request_id
from gex_pipeline.journal import list_segments, segment_path
from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.processes import (
    GatewayProcess,
    clean_environment,
    free_port,
    gateway_command,
    is_running,
    running_gateway,
    wait_until,
)
from webhook_gateway.bodies import MAX_BODY_BYTES

KEY = "key-of-this-test"
SECRET = "sv=2024&sig=SIGNATURE-OF-THIS-TEST"  # noqa: S105 - what must never come back
SNAPSHOT: dict[str, Any] = {
    "timestamp": 1763130600,
    "ticker": "SPX",
    "spot": 6838.5,
    "strikes": [[6890, -228.01, -86.9, [-240.55, -243.15, -245.22, -221.27, -220.12]]],
}
MESSAGE = ["flow-alerts", {"ticker": "TSLA"}]
ANNOUNCEMENT = {"url": f"https://hist.gex.bot/gb-nqndx/2025-11-14_NQ_NDX_classic_gex_zero.json?{SECRET}"}
CAPTURES = [("/gex", SNAPSHOT, 202), ("/uw", MESSAGE, 200), ("/gex_history_url", ANNOUNCEMENT, 202)]
ROUTES = [path for path, _, _ in CAPTURES]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway as most people run it, with two more history hosts."""
    hosts = "hist.gex.bot,files.example:8443,127.0.0.1:9911"
    with running_gateway(tmp_path_factory.mktemp("open") / "data", GEX_HISTORY_HOSTS=hosts) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that other machines can reach and that asks for a key."""
    data_dir = tmp_path_factory.mktemp("guarded") / "data"
    with running_gateway(data_dir, "--host", "0.0.0.0", GEX_API_KEY=KEY) as gateway:  # noqa: S104
        yield gateway


def post(gateway: GatewayProcess, path: str, body: object, **headers: str) -> requests.Response:
    """Post a body as it is, or as JSON when it is no text yet."""
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    named = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    return requests.post(gateway.url + path, data=data, headers=named, timeout=30)


def get(gateway: GatewayProcess, path: str, headers: dict[str, str] | None = None) -> requests.Response:
    return requests.get(gateway.url + path, headers=headers, timeout=30)


def problems(answer: requests.Response) -> list[dict[str, str]]:
    """Return the `detail` of an error, after a look at its shape."""
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["detail"]
    detail: list[dict[str, str]] = answer.json()["detail"]
    assert detail
    assert all(each.keys() == {"field", "value", "expected"} for each in detail)
    return detail


def journal_bytes(gateway: GatewayProcess) -> int:
    journal_dir = gateway.data_dir / "journal"
    return sum(segment_path(journal_dir, segment).stat().st_size for segment in list_segments(journal_dir))


# What is taken


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


# What is refused


@pytest.mark.parametrize(
    ("body", "field", "value", "expected"),
    [
        (b"", "", "an empty body", "a JSON document"),
        (b"{", "", "{", "a JSON object"),
        (b"\xff\xfe", "", "", "a JSON object"),
        ([SNAPSHOT], "", '[{"timestamp', "a JSON object"),
        ({"ticker": "SPX", "spot": 1}, "timestamp", "nothing", "epoch seconds"),
        (SNAPSHOT | {"timestamp": 1}, "timestamp", "1", "between 2000 and 2100"),
        (SNAPSHOT | {"timestamp": 10**400}, "timestamp", "1000", "between 2000 and 2100"),
        (SNAPSHOT | {"timestamp": "yesterday"}, "timestamp", "yesterday", "ISO 8601"),
        (SNAPSHOT | {"timestamp": True}, "timestamp", "True", "epoch seconds"),
        ({"timestamp": 1763130602, "spot": 1}, "ticker", "nothing", "a ticker"),
        (SNAPSHOT | {"ticker": "../../etc"}, "ticker", "../../etc", "a ticker"),
        (SNAPSHOT | {"ticker": "x'; DROP TABLE gex_snapshots; --"}, "ticker", "x'; DROP", "a ticker"),
        (SNAPSHOT | {"endpoint": "a/b"}, "endpoint", "a/b", "an endpoint"),
        (SNAPSHOT | {"spot": "high"}, "spot", "high", "a finite number"),
        (b'{"timestamp":1763130602,"ticker":"SPX","spot":NaN}', "", "", "a JSON object"),
        (b'{"timestamp":1763130602,"ticker":"SPX","spot":1e999}', "spot", "", ""),
        (b'{"timestamp":1763130602,"ticker":"SPX","spot":1,"note":"\xff"}', "note", "", "UTF-8 text"),
        (SNAPSHOT | {"min_dte": 0.5}, "min_dte", "0.5", "a whole number"),
        (SNAPSHOT | {"strikes": {"6890": 1}}, "strikes", "{'6890': 1}", "a list of strikes"),
        (SNAPSHOT | {"strikes": [[6890, 1, 2, [3, "x"]]]}, "strikes.0.3.1", "x", "a finite number"),
        (SNAPSHOT | {"strikes": [[6890, 1, 2], [1, 2, 3, 4, 5]]}, "strikes.1", "[1, 2, 3, 4, 5]", "[strike, gamma"),
        ({"timestamp": 1763130602, "ticker": "SPX"}, "spot", "nothing", "a spot price, strikes, or both"),
    ],
)
def test_a_snapshot_that_is_wrong_is_refused_field_by_field(
    gateway: GatewayProcess, body: object, field: str, value: str, expected: str
) -> None:
    before = journal_bytes(gateway)
    answer = post(gateway, "/gex", body)
    assert answer.status_code == 400
    [problem] = problems(answer)
    assert problem["field"] == field
    assert value in problem["value"]
    assert expected in problem["expected"]
    assert journal_bytes(gateway) == before


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        (b"", "", "an empty body"),
        (b"[1,", "", "[1,"),
        (b'["a", "\xff"]', "", "["),
        (["flow-alerts"], "", '["flow-alerts"]'),
        ([1, 2, 3], "", "[1, 2, 3]"),
        ("17", "", "17"),
        ([17, {}], "topic", "17"),
        ([" ", {}], "topic", "' '"),
        ({"payload": {}}, "topic", "nothing"),
        ({"topic": "a", "event": 5, "payload": {}}, "event", "5"),
        ({"topic": "a"}, "payload", "nothing"),
        ("[" * 100_000, "", "[["),
    ],
)
def test_a_message_in_no_known_frame_is_refused(
    gateway: GatewayProcess, body: object, field: str, value: str
) -> None:
    before = journal_bytes(gateway)
    answer = post(gateway, "/uw", body)
    assert answer.status_code == 400
    [problem] = problems(answer)
    assert problem["field"] == field
    assert value in problem["value"]
    assert journal_bytes(gateway) == before


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        (b"", "", "a JSON document"),
        (b"{", "", "a JSON object with a url"),
        (["https://hist.gex.bot/"], "", "a JSON object with a url"),
        ({}, "url", "a URL"),
        ({"url": 17}, "url", "a URL"),
        ({"url": f"https://hist.gex.bot/day?{SECRET}", "date": "2025-11-14"}, "ticker", "a ticker"),
        ({"url": f"https://hist.gex.bot/day?{SECRET}", "date": "2025-11-14", "ticker": "A B"}, "ticker", "a ticker"),
        ({"url": f"https://hist.gex.bot/SPX.json?date=2025-11-14&{SECRET}", "ticker": "SPX"}, "date", "a date"),
        ({"url": f"https://hist.gex.bot/2025-02-30_SPX.json?{SECRET}", "ticker": "SPX"}, "date", "a date"),
        ({"url": f"https://hist.gex.bot/day?{SECRET}", "ticker": "SPX", "date": "soon"}, "date", "a date"),
    ],
)
def test_an_announcement_without_what_it_needs_is_refused_and_told_what_is_missing(
    gateway: GatewayProcess, body: object, field: str, expected: str
) -> None:
    before = journal_bytes(gateway)
    answer = post(gateway, "/gex_history_url", body)
    assert answer.status_code == 400
    [problem] = problems(answer)
    assert problem["field"] == field
    assert expected in problem["expected"]
    assert "SIGNATURE" not in answer.text
    assert journal_bytes(gateway) == before


@pytest.mark.parametrize(
    "origin",
    ["https://hist.gex.bot", "https://HIST.gex.bot:443", "https://files.example:8443", "http://127.0.0.1:9911"],
)
def test_a_url_on_the_allow_list_is_queued(gateway: GatewayProcess, origin: str) -> None:
    answer = post(gateway, "/gex_history_url", {"url": f"{origin}/2025-11-14_SPX_classic.json?{SECRET}"})
    assert answer.status_code == 202
    assert "SIGNATURE" not in answer.text


@pytest.mark.parametrize(
    "origin",
    [
        "https://elsewhere.example",
        "https://hist.gex.bot.elsewhere.example",
        "https://elsewhere.example/hist.gex.bot",
        "https://hist.gex.bot@elsewhere.example",
        "https://someone@hist.gex.bot",
        "https://someone:password@hist.gex.bot",
        "https://hist.gex.bot:8443",
        "https://hist.gex.bot:99999",
        "https://files.example",
        "http://hist.gex.bot",
        "http://files.example:8443",
        "ftp://hist.gex.bot",
        "file:///etc",
        "//hist.gex.bot",
        "hist.gex.bot",
        "http://127.0.0.1",
        "http://127.0.0.1:9912",
        "http://localhost:9911",
        "http://[::1]:9911",
        "http://169.254.169.254",
        "https://[::1",
    ],
)
def test_any_other_url_is_refused_without_its_query_string(gateway: GatewayProcess, origin: str) -> None:
    before = journal_bytes(gateway)
    answer = post(gateway, "/gex_history_url", {"url": f"{origin}/2025-11-14_SPX_classic.json?{SECRET}"})
    assert answer.status_code == 400
    [problem] = problems(answer)
    assert problem["field"] == "url"
    assert "https" in problem["expected"]
    assert "SIGNATURE" not in answer.text
    assert "password" not in answer.text
    assert journal_bytes(gateway) == before


def test_loopback_is_refused_when_it_is_not_named(guarded: GatewayProcess) -> None:
    body = {"url": "http://127.0.0.1:9911/2025-11-14_SPX_classic.json"}
    assert post(guarded, "/gex_history_url", body, x_api_key=KEY).status_code == 400


def test_no_query_string_is_in_the_queue_or_in_the_log(gateway: GatewayProcess) -> None:
    assert post(gateway, "/gex_history_url", ANNOUNCEMENT).status_code == 202
    assert get(gateway, f"/gex_history_queue?{SECRET}").text.count("NQ_NDX") >= 1
    assert get(gateway, f"/nowhere?{SECRET}").status_code == 404
    gateway.wait_until_loaded()
    for text in (get(gateway, "/gex_history_queue").text, get(gateway, f"/nowhere?{SECRET}").text, gateway.log):
        assert "SIGNATURE" not in text


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/html", "multipart/form-data"])
@pytest.mark.parametrize("path", ROUTES)
def test_another_content_type_is_refused(gateway: GatewayProcess, path: str, content_type: str) -> None:
    answer = post(gateway, path, SNAPSHOT, content_type=content_type)
    assert answer.status_code == 415
    assert problems(answer) == [{"field": "content-type", "value": content_type, "expected": "application/json"}]


def test_a_body_that_is_cut_off_is_not_kept(gateway: GatewayProcess) -> None:
    before = journal_bytes(gateway)
    body = json.dumps(SNAPSHOT)
    head = f"POST /gex HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: {len(body) + 1}"
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(f"{head}\r\n\r\n{body}".encode())
    assert post(gateway, "/uw", ["1", "1", "phoenix", "heartbeat", {}]).ok
    assert journal_bytes(gateway) == before
    assert "Traceback" not in gateway.log


def test_a_client_that_had_its_share_is_told_when_to_come_again(tmp_path: Path) -> None:
    limits = {"RATE_LIMIT_GEX": "2/hour", "GEX_RATE_LIMIT_HISTORY": "1/minute", "RATE_LIMIT_WEBHOOK": "3/day"}
    with running_gateway(tmp_path / "data", **limits) as gateway:
        for (path, body, status), share, window in zip(CAPTURES, (2, 3, 1), (3600, 86400, 60), strict=True):
            assert [post(gateway, path, body).status_code for _ in range(share)] == [status] * share
            before = journal_bytes(gateway)
            refused = post(gateway, path, body)
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, str(window))
            assert "at most" in problems(refused)[0]["expected"]
            assert journal_bytes(gateway) == before


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/gex_history_queue/17", 404),
        ("GET", "/gex_history_queue/seventeen", 400),
        ("PUT", "/gex", 405),
        ("GET", "/uw", 405),
        ("DELETE", "/gex_history_queue", 405),
        ("POST", "/health", 405),
    ],
)
def test_what_there_is_not_is_answered_in_the_same_shape(
    gateway: GatewayProcess, method: str, path: str, status: int
) -> None:
    answer = requests.request(method, gateway.url + path, allow_redirects=False, timeout=30)
    assert answer.status_code == status
    assert len(problems(answer)) == 1
    assert ("allow" in answer.headers) == (status == 405)


# Who may


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"X-API-Key": "wrong"}, {"X-API-Key": ""}]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", path) for path in ROUTES),
        ("GET", "/gex_history_queue"),
        ("GET", "/lineage"),
        ("GET", "/openapi.json"),
        ("GET", "/nowhere"),
    ],
)
def test_without_the_key_nothing_is_taken_or_told(
    guarded: GatewayProcess, method: str, path: str, headers: dict[str, str]
) -> None:
    before = journal_bytes(guarded)
    answer = requests.request(method, guarded.url + path, json=SNAPSHOT, headers=headers, timeout=30)
    assert answer.status_code == 401
    [problem] = problems(answer)
    assert problem["field"] == "authorization"
    assert KEY not in answer.text
    assert journal_bytes(guarded) == before


@pytest.mark.parametrize(
    "headers", [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, {"x_api_key": KEY}]
)
@pytest.mark.parametrize(("path", "body", "status"), CAPTURES)
def test_with_the_key_in_either_header_captures_are_taken(
    guarded: GatewayProcess, path: str, body: object, status: int, headers: dict[str, str]
) -> None:
    assert post(guarded, path, body, **headers).status_code == status


def test_with_the_key_the_queue_is_shown_and_health_needs_none(guarded: GatewayProcess) -> None:
    assert get(guarded, "/gex_history_queue", {"X-API-Key": KEY}).status_code == 200
    assert get(guarded, "/health").json() == {"status": "ok"}
    assert get(guarded, "/ready").status_code == 200
    assert KEY not in guarded.log


@pytest.mark.parametrize("origin", ["https://gexbot.com", "https://www.gexbot.com", "https://unusualwhales.com"])
@pytest.mark.parametrize("path", ROUTES)
def test_the_vendors_pages_may_post_from_a_browser(guarded: GatewayProcess, path: str, origin: str) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key",
        "Access-Control-Request-Private-Network": "true",
    }
    preflight = requests.options(guarded.url + path, headers=asked, timeout=30)
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == origin
    assert preflight.headers["Access-Control-Allow-Private-Network"] == "true"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert {"content-type", "x-api-key"} <= set(preflight.headers["Access-Control-Allow-Headers"].lower().split(", "))
    for answer in (post(guarded, path, b"{", origin=origin, x_api_key=KEY), post(guarded, path, b"{", origin=origin)):
        assert answer.headers["Access-Control-Allow-Origin"] == origin


def test_other_pages_may_not(gateway: GatewayProcess) -> None:
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    preflight = requests.options(f"{gateway.url}/gex", headers=asked, timeout=30)
    assert preflight.status_code == 400
    assert "Access-Control-Allow-Origin" not in preflight.headers
    assert "Access-Control-Allow-Origin" not in post(gateway, "/gex", SNAPSHOT, origin=asked["Origin"]).headers


# What became of it


def test_an_announced_file_is_in_the_queue_before_and_after_it_is_loaded(gateway: GatewayProcess) -> None:
    gateway.wait_until_loaded()
    loader = gateway.loader_id()
    assert loader is not None
    os.kill(loader, signal.SIGSTOP)
    try:
        announced = post(
            gateway, "/gex_history_url", {"url": "https://hist.gex.bot/2025-07-01_QUEUED_classic.json"}
        ).json()
        key = announced["id"]
        before = get(gateway, f"/gex_history_queue/{key}").json()
        assert before in get(gateway, "/gex_history_queue").json()
        assert gateway.rows(f"FROM gex_history_queue WHERE id = {key}") == []
    finally:
        os.kill(loader, signal.SIGCONT)
    gateway.wait_until_loaded()
    after = get(gateway, f"/gex_history_queue/{key}").json()
    assert after in get(gateway, "/gex_history_queue").json()
    for shown in (before, after):
        known = {name: announced[name] for name in ("id", "ticker", "endpoint", "date")}
        assert shown | known | {"status": "pending"} == shown


def test_the_queue_shows_what_became_of_files_that_were_announced_together(gateway: GatewayProcess) -> None:
    urls = [f"https://hist.gex.bot/2025-06-{day:02d}_DONE_classic.json" for day in range(1, 31)]
    with ThreadPoolExecutor(15) as clients:
        answers = clients.map(lambda url: post(gateway, "/gex_history_url", {"url": url}).json(), urls)
        keys = {answer["id"] for answer in answers}
    gateway.wait_until_loaded()
    with lease(gateway.data_dir / "gex_data.db", purpose="import") as connection:
        connection.execute("UPDATE gex_history_queue SET status = 'completed' WHERE ticker = 'DONE'")
    shown = [each["status"] for each in get(gateway, "/gex_history_queue").json() if each["id"] in keys]
    assert shown == ["completed"] * len(urls)


def test_the_same_file_announced_again_keeps_its_id_and_is_one_row_with_the_fresh_url(
    gateway: GatewayProcess,
) -> None:
    url = "https://hist.gex.bot/2025-07-02_AGAIN_classic_gex_one.json?sig="
    ids = [post(gateway, "/gex_history_url", {"url": f"{url}{number}"}).json()["id"] for number in range(3)]
    assert len(set(ids)) == 1
    gateway.wait_until_loaded()
    found = gateway.rows("SELECT id, url, announced, status FROM gex_history_queue WHERE ticker = 'AGAIN'")
    assert found == [(ids[0], f"{url}2", 3, "pending")]
    assert [each["id"] for each in get(gateway, "/gex_history_queue").json()].count(ids[0]) == 1


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


# The process


def test_a_full_disk_refuses_captures_until_there_is_room_again(tmp_path: Path) -> None:
    def limit_file_size(gateway: GatewayProcess, size: int) -> None:
        resource.prlimit(gateway.process_id, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    with running_gateway(tmp_path / "data") as gateway:
        assert post(gateway, "/uw", ["disk", {"number": 0}]).status_code == 200
        limit_file_size(gateway, 10)
        for path, body, _ in CAPTURES:
            answer = post(gateway, path, body)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert "writable journal" in problems(answer)[0]["expected"]
        ready = get(gateway, "/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert ready.json()["checks"]["journal"]["error"] == "File too large"
        assert get(gateway, "/health").status_code == 200

        limit_file_size(gateway, resource.RLIM_INFINITY)
        assert post(gateway, "/uw", ["disk", {"number": 1}]).status_code == 200
        assert get(gateway, "/ready").status_code == 200
        gateway.wait_until_loaded()
        assert gateway.rows("SELECT payload FROM universal_webhooks") == [('{"number": 0}',), ('{"number": 1}',)]
        assert not (gateway.data_dir / "quarantine").exists()


def test_readiness_names_what_keeps_captures_from_being_loaded_and_recovers(tmp_path: Path) -> None:
    database = tmp_path / "data" / "gex_data.db"
    database.parent.mkdir()
    database.write_bytes(b"this is no database" * 1000)
    with running_gateway(database.parent) as gateway:
        wait_until(lambda: "gex_data.db" in (gateway.ready()["checks"]["loader"]["error"] or ""), 10)
        assert post(gateway, "/gex", SNAPSHOT).status_code == 202
        ready = get(gateway, "/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        checks = ready.json()["checks"]
        assert {name: check["ok"] for name, check in checks.items()} == {
            "journal": True, "loader": False, "backlog": True, "disk": True,
        }  # fmt: skip
        assert "gex_data.db cannot be opened" in checks["loader"]["error"]
        assert checks["backlog"]["bytes"] == journal_bytes(gateway) > 0
        database.unlink()
        wait_until(lambda: gateway.ready()["status"] == "ready", 15)
        assert gateway.ready()["checks"]["loader"]["error"] is None
        gateway.wait_until_loaded()
        assert gateway.rows("SELECT ticker FROM gex_snapshots") == [("SPX",)]


def test_a_loader_that_dies_is_started_again(gateway: GatewayProcess) -> None:
    loader = gateway.loader_id()
    assert loader is not None
    os.kill(loader, signal.SIGKILL)
    assert post(gateway, "/uw", ["after", {}]).status_code == 200
    wait_until(lambda: gateway.loader_id() not in {None, loader}, 10)
    assert gateway.ready()["checks"]["loader"]["restarts"] == 1
    gateway.wait_until_loaded()
    assert gateway.rows("SELECT count(*) FROM universal_webhooks WHERE topic = 'after'") == [(1,)]


def test_a_gateway_that_is_stopped_loads_what_it_took_and_leaves_no_process(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path / "data", GEX_ALLOW_UNAUTHENTICATED="1", HOST="0.0.0.0")  # noqa: S104
    gateway.start()
    wait_until(lambda: gateway.ready()["status"] == "ready", 10)
    loader = gateway.loader_id()
    for number in range(50):
        post(gateway, "/uw", ["last", {"number": number}])
    assert gateway.stop() == 0
    assert loader is not None
    assert not is_running(loader)
    assert "Traceback" not in gateway.log
    assert gateway.rows("SELECT count(DISTINCT payload) FROM universal_webhooks") == [(50,)]


def test_the_loader_of_a_killed_gateway_ends_by_itself(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path / "data")
    gateway.start()
    wait_until(lambda: gateway.ready()["status"] == "ready", 10)
    loader = gateway.loader_id()
    assert loader is not None
    gateway.kill()
    wait_until(lambda: not is_running(loader), 10)


def test_the_gateway_is_imported_without_database_or_dagster() -> None:
    check = "import sys, webhook_gateway.__main__; sys.exit(str({'duckdb', 'dagster', 'polars'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=30, check=False)
    assert ended.stderr == "set()\n"


def refused_start(tmp_path: Path, *flags: str, **environment: str) -> str:
    """Start a gateway that must refuse, and return its one line on standard error."""
    ended = subprocess.run(
        gateway_command(*flags),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=tmp_path,
        env=clean_environment(**environment),
    )
    assert ended.returncode not in {0, -signal.SIGKILL}
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("webhook_gateway: ")
    return ended.stderr


@pytest.mark.parametrize(
    ("flags", "environment", "told"),
    [
        (["--port", "65536"], {}, "GEX_PORT=65536"),
        (["--timeout-keep-alive", "0"], {}, "GEX_TIMEOUT_KEEP_ALIVE=0"),
        ([], {"LOG_LEVEL": "loud"}, "GEX_LOG_LEVEL=loud"),
        ([], {"GEX_HISTORY_HOSTS": "https://hist.gex.bot"}, "GEX_HISTORY_HOSTS"),
        ([], {"GEX_FEEDS": "SPX"}, "GEX_FEEDS=SPX: feed: got SPX, expected TICKER:endpoint"),
        (["--host", "0.0.0.0"], {}, "GEX_HOST=0.0.0.0 is reachable from other machines: set GEX_API_KEY"),  # noqa: S104
        (["--host", "0.0.0.0"], {"GEX_API_KEY": ""}, "set GEX_API_KEY"),  # noqa: S104
        (["--ssl-certfile", "cert.pem"], {}, "GEX_SSL_CERTFILE and GEX_SSL_KEYFILE belong together"),
        (["--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem"], {}, "GEX_SSL_CERTFILE=cert.pem is not a file"),
        (["--host", "192.0.2.1"], {"GEX_API_KEY": KEY}, "cannot listen on 192.0.2.1:"),
    ],
)
def test_a_setting_that_cannot_be_used_stops_the_start_with_one_line(
    tmp_path: Path, flags: list[str], environment: dict[str, str], told: str
) -> None:
    line = refused_start(tmp_path, *flags, **environment)
    assert told in line
    assert KEY not in line


def test_a_folder_that_cannot_be_written_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    line = refused_start(tmp_path, "--port", str(free_port()), "--data-dir", "file/data")
    assert "the folder file/data/journal cannot be written: Not a directory" in line


def test_a_port_in_use_stops_the_start_with_one_line(gateway: GatewayProcess, tmp_path: Path) -> None:
    assert "Address already in use" in refused_start(tmp_path, GEX_PORT=str(gateway.port))


def test_a_flag_wins_over_its_variable_and_the_new_variable_over_the_old(tmp_path: Path) -> None:
    assert "GEX_PORT=-1" in refused_start(tmp_path, "--port=-1", GEX_PORT="-2", PORT="-3")
    assert "GEX_PORT=-2" in refused_start(tmp_path, GEX_PORT="-2", PORT="-3")
    assert "GEX_PORT=-3" in refused_start(tmp_path, PORT="-3")


def test_a_log_folder_that_cannot_be_written_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    refused_start(tmp_path, "--port", str(free_port()), "--log-dir", "file/logs")


def test_a_certificate_that_cannot_be_read_stops_the_start_with_one_line(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes(b"")
    refused_start(tmp_path, "--port", str(free_port()), "--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem")


def test_a_port_that_is_no_number_stops_the_start_with_one_line(tmp_path: Path) -> None:
    refused_start(tmp_path, "--port", "eighty")


def test_an_id_of_any_length_is_answered_in_the_same_shape(gateway: GatewayProcess) -> None:
    answer = get(gateway, f"/gex_history_queue/{10**40}")
    assert answer.status_code in {400, 404}
    assert len(problems(answer)) == 1


def test_a_body_that_ends_with_a_line_break_reaches_its_table(gateway: GatewayProcess) -> None:
    body = b' {"timestamp": 1763130602, "ticker": "BLANKS",\n "spot": 1.5}\r\n'
    answer = requests.post(f"{gateway.url}/gex", data=body, headers={"Content-Type": "application/json"}, timeout=30)
    assert answer.status_code == 202
    gateway.wait_until_loaded(30)
    assert gateway.rows("SELECT spot_price FROM gex_snapshots WHERE ticker = 'BLANKS'") == [(1.5,)]


def test_requests_that_are_not_loaded_yet_are_listed_last_announced_first(gateway: GatewayProcess) -> None:
    loader = gateway.loader_id()
    assert loader is not None
    os.kill(loader, signal.SIGSTOP)
    try:
        urls = [f"https://hist.gex.bot/2025-05-{day:02d}_ORDER_classic.json" for day in (1, 2, 3)]
        ids = [post(gateway, "/gex_history_url", {"url": url}).json()["id"] for url in urls]
        assert [each["id"] for each in get(gateway, "/gex_history_queue").json()][:3] == ids[::-1]
    finally:
        os.kill(loader, signal.SIGCONT)
