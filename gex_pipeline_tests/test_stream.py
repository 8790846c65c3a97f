"""`GET /gex/stream` over real HTTP."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any

from gex_pipeline_tests.gateway_requests import KEY, SNAPSHOT, get, post, problems
from gex_pipeline_tests.processes import GatewayProcess, running_gateway, wait_until
from webhook_gateway.streams import MAX_LISTENERS

SECOND = 1763130600


@dataclass
class Reader:
    """One who asked for a stream; once started, reads it event by event in a thread, until it ends."""

    answer: HTTPResponse
    events: list[dict[str, str]] = field(default_factory=list)
    has_ended: bool = False

    def run(self) -> None:
        event: dict[str, str] = {}
        with suppress(OSError, HTTPException, ValueError):  # who goes does so in the middle of it
            for line in iter(self.answer.readline, b""):
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    event[name] = f"{event[name]}\n{value}" if name in event else value
                elif event:
                    self.events.append(event)
                    event = {}
            self.has_ended = True

    def snapshots(self) -> list[tuple[str, int]]:
        shown: list[dict[str, Any]] = [json.loads(event["data"]) for event in self.events if "data" in event]
        return [(each["ticker"], each["timestamp"]) for each in shown]


@contextmanager
def asking(gateway: GatewayProcess, query: str = "", **headers: str) -> Iterator[tuple[Reader, threading.Thread]]:
    """Ask for a stream, and go at the end."""
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    connection.request("GET", f"/gex/stream{query}", headers=headers)
    socket = connection.sock
    reader = Reader(connection.getresponse())
    thread = threading.Thread(target=reader.run)
    try:
        yield reader, thread
    finally:
        with suppress(OSError):
            socket.shutdown(SHUT_RDWR)
        if thread.is_alive():
            thread.join(10)
        reader.answer.close()
        connection.close()


@contextmanager
def reading(gateway: GatewayProcess, query: str = "", **headers: str) -> Iterator[Reader]:
    with asking(gateway, query, **headers) as (reader, thread):
        assert reader.answer.status == 200
        assert reader.answer.headers["content-type"].startswith("text/event-stream")
        thread.start()
        yield reader


def capture(gateway: GatewayProcess, ticker: str, second: int, **fields: object) -> None:
    assert post(gateway, "/gex", SNAPSHOT | {"ticker": ticker, "timestamp": SECOND + second} | fields).ok


def test_the_newest_comes_at_once_and_every_newer_one_after_it(gateway: GatewayProcess) -> None:
    capture(gateway, "FIRST", 0)
    with reading(gateway, "?feed=FIRST:gex_zero&feed=SECOND:gex_zero") as reader:
        wait_until(lambda: reader.events, 10)
        capture(gateway, "SECOND", 7)
        capture(gateway, "OTHER", 7)
        capture(gateway, "FIRST", -1)
        capture(gateway, "FIRST", 1, vix=17.1)
        wait_until(lambda: len(reader.events) == 3, 10)
        assert reader.snapshots() == [
            ("FIRST", SECOND * 1000), ("SECOND", (SECOND + 7) * 1000), ("FIRST", (SECOND + 1) * 1000)
        ]  # fmt: skip
        last = reader.events[-1]
        assert (last["event"], last["id"]) == ("snapshot", str((SECOND + 1) * 1000))
        assert json.loads(last["data"]) == get(gateway, "/gex/latest?ticker=FIRST").json()[0]


def test_without_a_feed_all_are_sent_to_everybody(gateway: GatewayProcess) -> None:
    with reading(gateway) as one, reading(gateway) as other:
        capture(gateway, "ALL", 0)
        wait_until(lambda: ("ALL", SECOND * 1000) in one.snapshots(), 10)
        wait_until(lambda: ("ALL", SECOND * 1000) in other.snapshots(), 10)


def test_json_that_was_sent_over_several_lines_is_one_event(gateway: GatewayProcess) -> None:
    body = json.dumps(SNAPSHOT | {"ticker": "LINES"})[:-1] + ',"max_priors":[[7140,\r\n1.5],\n[7135, 2]]}'
    with reading(gateway, "?feed=LINES:gex_zero") as reader:
        assert post(gateway, "/gex", body).ok
        wait_until(lambda: reader.events, 10)
        assert json.loads(reader.events[0]["data"])["max_priors"] == [[7140, 1.5], [7135, 2]]


def test_what_is_no_feed_is_refused(gateway: GatewayProcess) -> None:
    answer = get(gateway, "/gex/stream?feed=SPX:gex_zero&feed=SPX")
    assert answer.status_code == 400
    assert [problem["field"] for problem in problems(answer)] == ["feed"]


def test_the_key_goes_in_a_header(guarded: GatewayProcess) -> None:
    assert get(guarded, "/gex/stream").status_code == 401
    with reading(guarded, "?feed=SPX:gex_one", Authorization=f"Bearer {KEY}", Origin="https://gexbot.com") as reader:
        assert reader.answer.headers["access-control-allow-origin"] == "https://gexbot.com"


def test_a_place_is_free_again_when_a_reader_has_gone(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data") as gateway, ExitStack() as readers:
        for _ in range(MAX_LISTENERS - 1):
            reader, _ = readers.enter_context(asking(gateway))
            assert reader.answer.status == 200
        with asking(gateway) as (last, _):
            assert last.answer.status == 200
            refused = get(gateway, "/gex/stream")
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert problems(refused)
        wait_until(lambda: _has_room(gateway), 10)


def _has_room(gateway: GatewayProcess) -> bool:
    with asking(gateway) as (reader, _):
        return reader.answer.status == 200


def test_streams_end_when_the_gateway_is_told_to_stop(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data") as gateway, reading(gateway) as reader:
        capture(gateway, "SPX", 0)
        wait_until(lambda: reader.events, 10)
        began = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began < 8
        wait_until(lambda: reader.has_ended, 5)
        assert reader.snapshots() == [("SPX", SECOND * 1000)]


def test_a_slow_reader_misses_snapshots_but_not_the_newest(tmp_path: Path) -> None:
    ladder = [[strike, 1.25, 2.5, [1, 2, 3, 4, 5]] for strike in range(20_000)]
    with running_gateway(tmp_path / "data") as gateway, asking(gateway) as (reader, thread):
        for second in range(12):
            capture(gateway, "SLOW", second, strikes=ladder)
        thread.start()
        wait_until(lambda: reader.events and reader.events[-1].get("id") == str((SECOND + 11) * 1000), 20)
        seen = [timestamp for _, timestamp in reader.snapshots()]
        assert seen == sorted(set(seen))
        assert len(seen) < 12


def test_a_stream_that_is_read_outlasts_the_time_for_taking_an_answer(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data", GEX_TIMEOUT_REQUEST="1") as gateway, reading(gateway) as reader:
        for second in range(4):
            capture(gateway, "SPX", second)
            time.sleep(0.8)
        wait_until(lambda: len(reader.events) == 4, 5)
        assert not reader.has_ended
