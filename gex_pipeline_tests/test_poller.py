"""Polling a feed: a stand-in for GexBot on one side, a real gateway on the other, and a clock that is set."""

import datetime as dt
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gex_pipeline.demo.gexbot_answers import LiveAnswer
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.feeds import Feed
from gex_pipeline.poller import feed_poller
from gex_pipeline.poller.__main__ import _keep_polling
from gex_pipeline.poller.feed_poller import FeedPoller
from gex_pipeline.settings import load_settings
from gex_pipeline.trading_days import NEW_YORK
from gex_pipeline_tests.processes import GatewayProcess, free_port, running_gateway

GEXBOT_KEY = "gexbot_custom_KEY-OF-THIS-TEST"
GATEWAY_KEY = "gateway-key-of-this-test"
STRIKES = [[6890, -228.01, -86.9, [-240.55, -243.15, -245.22, -221.27, -220.12]]]

MakePoller = Callable[..., FeedPoller]
SetClock = Callable[[str], None]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    data_dir = tmp_path_factory.mktemp("polled") / "data"
    with running_gateway(data_dir, GEX_API_KEY=GATEWAY_KEY) as gateway:
        yield gateway


@pytest.fixture
def gexbot(tmp_path: Path) -> Iterator[GexBotStandIn]:
    with GexBotStandIn(tmp_path, api_key=GEXBOT_KEY) as stand_in:
        yield stand_in


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets what the poller takes for now, in New York; it then stands still."""
    return lambda text: monkeypatch.setattr(feed_poller, "epoch_ms", lambda: at(text))


@pytest.fixture
def make_poller(
    gateway: GatewayProcess,
    gexbot: GexBotStandIn,
    tmp_path: Path,
    set_clock: SetClock,
    monkeypatch: pytest.MonkeyPatch,
) -> MakePoller:
    """Makes a poller; it is ten o'clock on a trading day, and a busy machine may take its time to answer."""
    set_clock("2025-11-14 10:00:00")
    monkeypatch.setattr(feed_poller, "GEXBOT_TIMEOUTS", (30, 30))

    def make(feed: str = "SPX:gex_zero", gateway_url: str = gateway.url, **settings: Any) -> FeedPoller:
        urls = {"gexbot_api_url": f"{gexbot.base_url}/v2"}
        keys = {"gexbot_api_key": GEXBOT_KEY, "api_key": GATEWAY_KEY}
        return FeedPoller(
            load_settings(data_dir=tmp_path / "data", **(urls | keys | settings)), Feed.parse(feed), gateway_url
        )

    return make


def at(text: str) -> int:
    """Return a moment in New York as epoch milliseconds."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp() * 1000)


def snapshot(text: str, ticker: str | None = "SPX", **fields: object) -> LiveAnswer:
    """Return GexBot's answer at a moment in New York."""
    named = {} if ticker is None else {"ticker": ticker}
    record = {"timestamp": at(text) // 1000, **named, "spot": 6838.5, "strikes": STRIKES, **fields}
    return LiveAnswer(body=json.dumps(record).encode())


def captured(gateway: GatewayProcess, ticker: str) -> list[tuple[str, str]]:
    """Return endpoint and New York time of everything in the journal for a ticker, as it came."""
    found = []
    for path in sorted((gateway.data_dir / "journal").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            body = msgspec.json.decode(line)["body"]
            if body["ticker"] == ticker:
                moment = dt.datetime.fromtimestamp(body["timestamp"], NEW_YORK)
                found.append((body["endpoint"], f"{moment:%m-%d %H:%M:%S}"))
    return found


def test_a_new_snapshot_is_captured_under_the_feed_it_was_asked_for(
    gateway: GatewayProcess, gexbot: GexBotStandIn, make_poller: MakePoller
) -> None:
    gexbot.live["SPX:gex_full"] = [snapshot("2025-11-14 09:59:59")]
    gexbot.live["SPX:gex_one"] = [snapshot("2025-11-14 09:59:58", ticker=None)]
    for feed in ("SPX:gex_full", "SPX:gex_one"):
        assert make_poller(feed).poll() <= 1
    assert [(each.path, each.status) for each in gexbot.requests] == [
        ("/v2/SPX/classic/gex_full", 200),
        ("/v2/SPX/classic/gex_one", 200),
    ]
    gateway.wait_until_loaded()
    rows = gateway.rows("SELECT endpoint, timestamp, spot_price, source FROM gex_snapshots WHERE ticker = 'SPX'")
    assert sorted(rows) == [
        ("gex_full", at("2025-11-14 09:59:59"), 6838.5, "live"),
        ("gex_one", at("2025-11-14 09:59:58"), 6838.5, "live"),
    ]


def test_repeats_and_what_is_from_before_the_session_are_skipped(
    gateway: GatewayProcess, gexbot: GexBotStandIn, make_poller: MakePoller
) -> None:
    times = ["11-13 16:00:00", "11-14 09:30:02", "11-14 09:30:02", "11-14 09:30:01", "11-14 09:30:03"]
    gexbot.live["RPT:gex_zero"] = [snapshot(f"2025-{time}", "RPT") for time in times]
    poller = make_poller("RPT:gex_zero")
    for _ in range(7):
        poller.poll()
    assert len(gexbot.requests) == 7
    assert captured(gateway, "RPT") == [("gex_zero", "11-14 09:30:02"), ("gex_zero", "11-14 09:30:03")]
    assert poller.status.snapshot_ms == at("2025-11-14 09:30:03")
    assert (poller.status.polls, poller.status.failures) == (7, 0)


def test_a_feed_is_asked_once_per_second_and_not_more_often(
    gexbot: GexBotStandIn, make_poller: MakePoller, caplog: pytest.LogCaptureFixture
) -> None:
    gexbot.rate_limit = True
    gexbot.live["RATE:gex_zero"] = [snapshot(f"2025-11-14 09:31:0{second}", "RATE") for second in range(9)]
    ended = threading.Event()
    started = time.monotonic()
    thread = threading.Thread(target=_keep_polling, args=(make_poller("RATE:gex_zero"), ended))
    thread.start()
    while len(gexbot.requests) < 4 and time.monotonic() - started < 20:
        time.sleep(0.01)
    ended.set()
    thread.join()
    assert {each.status for each in gexbot.requests} == {200}, caplog.text
    assert time.monotonic() - started >= 3


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "the key is not accepted"),
        (403, "the account is not entitled, or it is a throttle"),
        (404, "it has no such ticker or category"),
        (429, "it was asked too often"),
        (503, "GexBot answered 503"),
    ],
)
def test_refusals_are_answered_with_growing_pauses_until_gexbot_answers_again(
    gateway: GatewayProcess, gexbot: GexBotStandIn, make_poller: MakePoller, status: int, said: str
) -> None:
    ticker = f"R{status}"
    refusal = LiveAnswer(status=status)
    gexbot.live[f"{ticker}:gex_zero"] = [refusal, refusal, refusal, snapshot("2025-11-14 09:59:59", ticker)]
    poller = make_poller(f"{ticker}:gex_zero")
    for shortest in (1, 2, 4):
        assert shortest <= poller.poll() <= 2 * shortest
        assert said in (poller.status.error or "")
        assert (poller.status.paused_until_ms or 0) >= at("2025-11-14 10:00:00") + shortest * 1000
    assert poller.poll() <= 1
    assert (poller.status.error, poller.status.paused_until_ms) == (None, None)
    assert (poller.status.polls, poller.status.failures) == (4, 3)
    assert captured(gateway, ticker) == [("gex_zero", "11-14 09:59:59")]
    gexbot.live[f"{ticker}:gex_zero"] = [refusal]
    assert 1 <= poller.poll() <= 2, "a new failure begins with a short pause"


def test_what_retry_after_asks_for_is_kept(gexbot: GexBotStandIn, make_poller: MakePoller) -> None:
    gexbot.live["SPX:gex_zero"] = [LiveAnswer(status=429, headers={"Retry-After": "47"})]
    assert 47 <= make_poller().poll() <= 48


def test_a_gexbot_that_is_not_there_is_asked_again_later(make_poller: MakePoller) -> None:
    poller = make_poller(gexbot_api_url=f"http://127.0.0.1:{free_port()}/v2")
    assert 1 <= poller.poll() <= 2
    assert 2 <= poller.poll() <= 4
    assert poller.status.error == "GexBot could not be asked: ConnectionError"


def test_a_gexbot_that_says_nothing_is_not_waited_for(
    make_poller: MakePoller, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        poller = make_poller(gexbot_api_url=f"http://127.0.0.1:{silent.getsockname()[1]}/v2")
        monkeypatch.setattr(feed_poller, "GEXBOT_TIMEOUTS", (30, 0.1))
        assert 1 <= poller.poll() <= 2
    assert poller.status.error == "GexBot could not be asked: ReadTimeout"


def test_what_the_gateway_did_not_take_is_offered_again(
    gateway: GatewayProcess, gexbot: GexBotStandIn, make_poller: MakePoller
) -> None:
    gexbot.live["AGAIN:gex_zero"] = [snapshot("2025-11-14 09:59:59", "AGAIN")]
    poller = make_poller("AGAIN:gex_zero", gateway_url=f"http://127.0.0.1:{free_port()}")
    assert 1 <= poller.poll() <= 2
    assert poller.status.error == "the gateway could not be reached: ConnectionError"
    poller._gateway_url = f"{gateway.url}/gex"
    assert poller.poll() <= 1
    assert captured(gateway, "AGAIN") == [("gex_zero", "11-14 09:59:59")]


def test_a_gateway_that_refuses_is_left_alone_for_a_while(gexbot: GexBotStandIn, make_poller: MakePoller) -> None:
    gexbot.live["SPX:gex_zero"] = [snapshot("2025-11-14 09:59:59")]
    poller = make_poller(api_key="another key")
    assert 1 <= poller.poll() <= 2
    assert poller.status.error == "the gateway answered 401"
    assert poller.status.snapshot_ms is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (LiveAnswer(body=f"<html>{GEXBOT_KEY}</html>".encode()), "the body: expected a JSON object"),
        (LiveAnswer(body=b""), "the body: expected a JSON object"),
        (LiveAnswer(body=snapshot("2025-11-14 09:59:59", "BAD").body[:-20]), "the body: expected a JSON object"),
        (LiveAnswer(body=b'{"error": "try again"}'), "timestamp: expected epoch seconds"),
        (snapshot("2025-11-14 09:59:59", "NDX"), "answered with NDX:gex_zero when asked for BAD:gex_zero"),
        (snapshot("2025-11-14 09:59:59", "BAD", category="gex_one"), "answered with BAD:gex_one when asked for"),
        (LiveAnswer(status=302, headers={"Location": "http://127.0.0.1:1/"}), "GexBot answered 302"),
        (LiveAnswer(body=b" " * (feed_poller.MAX_ANSWER_BYTES + 1)), "more than 8,388,608 bytes"),
    ],
)
def test_an_answer_that_is_no_snapshot_of_the_feed_is_not_captured_and_not_repeated(
    gateway: GatewayProcess,
    gexbot: GexBotStandIn,
    make_poller: MakePoller,
    caplog: pytest.LogCaptureFixture,
    answer: LiveAnswer,
    said: str,
) -> None:
    gexbot.live["BAD:gex_zero"] = [answer]
    poller = make_poller("BAD:gex_zero")
    assert 1 <= poller.poll() <= 2
    assert said in (poller.status.error or "")
    assert captured(gateway, "BAD") == captured(gateway, "NDX") == []
    assert GEXBOT_KEY not in caplog.text + (poller.status.error or "")


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2025-11-14 09:29:59", "2025-11-14 09:30:00"),
        ("2025-11-14 16:00:05", "2025-11-17 09:30:00"),
        ("2025-11-15 12:00:00", "2025-11-17 09:30:00"),  # a Saturday
        ("2025-11-27 12:00:00", "2025-11-28 09:30:00"),  # Thanksgiving
        ("2025-11-28 13:00:05", "2025-12-01 09:30:00"),  # the half day after it
    ],
)
def test_outside_the_session_nothing_is_asked(
    gexbot: GexBotStandIn, make_poller: MakePoller, set_clock: SetClock, now: str, opens: str
) -> None:
    gexbot.live["SPX:gex_zero"] = [snapshot(now)]
    poller = make_poller()
    set_clock(now)
    assert poller.poll() == min(30.0, (at(opens) - at(now)) / 1000)
    assert gexbot.requests == []
    assert (poller.status.error, poller.status.paused_until_ms) == (None, at(opens))


@pytest.mark.parametrize("now", ["2025-11-14 09:30:00", "2025-11-14 16:00:04", "2025-11-28 13:00:04"])
def test_from_the_open_until_a_moment_after_the_close_the_feed_is_asked(
    gateway: GatewayProcess, gexbot: GexBotStandIn, make_poller: MakePoller, set_clock: SetClock, now: str
) -> None:
    ticker = f"AT{at(now)}"
    gexbot.live[f"{ticker}:gex_zero"] = [snapshot(now, ticker)]
    poller = make_poller(f"{ticker}:gex_zero")
    set_clock(now)
    poller.poll()
    assert captured(gateway, ticker) == [("gex_zero", now[5:])]


def test_the_key_is_in_no_log(
    gexbot: GexBotStandIn, make_poller: MakePoller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gexbot.live["SPX:gex_zero"] = [LiveAnswer(status=403), snapshot("2025-11-14 09:59:59")]
    poller = make_poller()
    poller.poll()
    poller.poll()
    assert "SPX:gex_zero: GexBot answered 403" in caplog.text
    assert "SPX:gex_zero: polled again" in caplog.text
    assert GEXBOT_KEY not in caplog.text
    assert GATEWAY_KEY not in caplog.text
