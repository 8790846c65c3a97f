"""What the gateway refuses, and how it says so."""

import json
import socket
from pathlib import Path

import pytest
import requests

from gex_pipeline_tests.gateway_requests import (
    ANNOUNCEMENT,
    CAPTURES,
    KEY,
    ROUTES,
    SECRET,
    SNAPSHOT,
    get,
    journal_bytes,
    post,
    problems,
)
from gex_pipeline_tests.processes import GatewayProcess, running_gateway


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


def test_an_id_of_any_length_is_answered_in_the_same_shape(gateway: GatewayProcess) -> None:
    answer = get(gateway, f"/gex_history_queue/{10**40}")
    assert answer.status_code in {400, 404}
    assert len(problems(answer)) == 1
