"""The poller as a process: started by the gateway, seen in /ready, stopped with it; and what it decides by itself."""

import datetime as dt
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.feeds import Feed
from gex_pipeline.poller.pauses import pause_seconds, read_retry_after
from gex_pipeline.settings import SettingsError, load_settings
from gex_pipeline.trading_days import session_from
from gex_pipeline_tests.processes import clean_environment, is_running, running_gateway, wait_until
from gex_pipeline_tests.test_poller import GATEWAY_KEY, GEXBOT_KEY, at, snapshot

# A poller for which it is another time.
SHIFTED = """import runpy, sys, time
offset_ns, real = int(sys.argv.pop(1)), time.time_ns
time.time_ns = lambda: real() + offset_ns
runpy.run_module("gex_pipeline.poller", run_name="__main__")
"""
NOON = dt.datetime(2025, 11, 14, 12, tzinfo=dt.timezone(-dt.timedelta(hours=5)))


@pytest.fixture
def gexbot(tmp_path: Path) -> Iterator[GexBotStandIn]:
    with GexBotStandIn(tmp_path, api_key=GEXBOT_KEY, rate_limit=True) as stand_in:
        yield stand_in


def test_the_gateway_runs_the_poller_shows_it_and_stops_it(tmp_path: Path, gexbot: GexBotStandIn) -> None:
    polling = {"GEX_POLL_FEEDS": "SPX:zero,NQ_NDX:gex_full", "GEXBOT_API_URL": f"{gexbot.base_url}/v2"}
    with running_gateway(tmp_path / "data", GEXBOT_API_KEY=GEXBOT_KEY, **polling) as gateway:
        wait_until(lambda: gateway.ready()["checks"]["poller"]["feeds"], 30)
        wait_until(lambda: gateway.ready()["checks"]["loader"]["ok"], 30)
        ready = gateway.ready()
        shown = ready["checks"]["poller"]
        assert set(shown) == {"ok", "process", "restarts", "feeds"}
        assert set(shown["feeds"]) == {"SPX:gex_zero", "NQ_NDX:gex_full"}
        assert set(shown["feeds"]["SPX:gex_zero"]) == {"polled_at_ms", "snapshot_ms", "error", "paused_until_ms"}
        os.kill(shown["process"], signal.SIGKILL)
        wait_until(lambda: gateway.ready()["checks"]["poller"]["restarts"] == 1, 10)
        assert gateway.ready()["status"] == "ready", "captures by webhook do not need the poller"
        wait_until(lambda: gateway.ready()["checks"]["poller"]["process"] not in {None, shown["process"]}, 30)
        process = gateway.ready()["checks"]["poller"]["process"]
        assert gateway.stop() == 0
    assert not is_running(process)
    assert "the poller was ended by SIGKILL" in gateway.log
    assert GEXBOT_KEY not in gateway.log


def test_without_feeds_to_poll_there_is_no_poller(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data", GEXBOT_API_KEY=GEXBOT_KEY) as gateway:
        assert "poller" not in gateway.ready()["checks"]
    assert "polling" not in gateway.log


def test_what_is_polled_during_the_session_reaches_the_database(tmp_path: Path, gexbot: GexBotStandIn) -> None:
    gexbot.live["SPX:gex_zero"] = [snapshot("2025-11-14 12:00:00")]
    with running_gateway(tmp_path / "data", GEX_API_KEY=GATEWAY_KEY) as gateway:
        offset_ns = int((NOON - dt.datetime.now(dt.UTC)).total_seconds() * 1e9)
        command = [sys.executable, "-c", SHIFTED, str(offset_ns), "--gateway", gateway.url, "--exit-with-stdin"]
        environment = clean_environment(
            GEX_DATA_DIR=str(gateway.data_dir),
            GEX_API_KEY=GATEWAY_KEY,
            GEX_POLL_FEEDS="SPX:gex_zero",
            GEXBOT_API_KEY=GEXBOT_KEY,
            GEXBOT_API_URL=f"{gexbot.base_url}/v2",
        )
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as poller:
            try:
                wait_until(lambda: len(gexbot.requests) >= 3, 30)
                assert poller.stdin is not None
                poller.stdin.close()
                assert poller.wait(10) == 0, "the end of the gateway is the end of its poller"
                assert poller.stderr is not None
                log = poller.stderr.read().decode()
            finally:
                poller.kill()
        gateway.wait_until_loaded()
        rows = gateway.rows("SELECT ticker, endpoint, timestamp, source FROM gex_snapshots")
        assert rows == [("SPX", "gex_zero", at("2025-11-14 12:00:00"), "live")]
    assert "polling SPX:gex_zero; session 2025-11-14 09:30 to 16:00 New York" in log
    assert GEXBOT_KEY not in log
    assert GATEWAY_KEY not in log


def test_the_poller_loads_neither_duckdb_nor_dagster() -> None:
    check = (
        "import sys, gex_pipeline.poller.__main__; sys.exit(str({'duckdb', 'dagster', 'polars'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert result.stderr.strip() == "set()"


def test_feeds_to_poll_need_a_key_and_are_polled_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEXBOT_API_KEY", "")
    with pytest.raises(SettingsError, match=r"^GEX_POLL_FEEDS needs GEXBOT_API_KEY$"):
        load_settings(poll_feeds="SPX:gex_zero")
    with pytest.raises(SettingsError, match=r"^GEX_POLL_FEEDS=SPX: "):
        load_settings(poll_feeds="SPX", gexbot_api_key=GEXBOT_KEY)
    monkeypatch.setenv("GEX_POLL_FEEDS", "SPX:zero, spx:gex_zero,SPX:full")
    settings = load_settings(gexbot_api_key=GEXBOT_KEY)
    assert settings.poll_feeds == (Feed("SPX", "gex_zero"), Feed("SPX", "gex_full"))


@pytest.mark.parametrize(
    ("failures", "retry_after", "shortest", "longest"),
    [(1, None, 1, 2), (2, None, 2, 4), (5, None, 16, 32), (6, None, 30, 60), (5000, None, 30, 60), (1, 90, 90, 91)],
)
def test_pauses_double_up_to_a_minute_and_never_end_before_retry_after(
    failures: int, retry_after: float | None, shortest: float, longest: float
) -> None:
    assert pause_seconds(failures, retry_after, 0) == shortest
    assert pause_seconds(failures, retry_after, 1) == longest


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("12", 12),
        ("0", None),
        ("-3", None),
        ("nan", None),
        ("soon", None),
        ("99999999", 3600),
        ("Fri, 14 Nov 2025 17:00:30 GMT", 30),
        ("Fri, 14 Nov 2025 16:59:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str | None, seconds: float | None) -> None:
    assert read_retry_after(header, NOON) == seconds


@pytest.mark.parametrize(
    ("now", "opens", "closes"),
    [
        ("2025-11-14 00:00:00", "2025-11-14 09:30:00", "2025-11-14 16:00:00"),
        ("2025-11-14 15:59:59", "2025-11-14 09:30:00", "2025-11-14 16:00:00"),
        ("2025-11-14 16:00:00", "2025-11-17 09:30:00", "2025-11-17 16:00:00"),
        ("2025-11-26 20:00:00", "2025-11-28 09:30:00", "2025-11-28 13:00:00"),
        ("2025-03-07 20:00:00", "2025-03-10 09:30:00", "2025-03-10 16:00:00"),  # the clocks go forward between them
    ],
)
def test_the_session_that_is_on_or_comes_next(now: str, opens: str, closes: str) -> None:
    assert session_from(at(now)) == (at(opens), at(closes))
