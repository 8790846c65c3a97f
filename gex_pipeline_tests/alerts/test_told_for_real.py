"""Each condition caused for real, in a real gateway that starts its watcher by itself: told once, and once when over.

The wall clock of these processes starts at noon of a trading day and runs ten times as fast.
"""

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from gex_pipeline.alerts.conditions import CONDITIONS
from gex_pipeline_tests.alerts.faster_clock import faster_clock
from gex_pipeline_tests.inboxes import TOKEN, Inbox, hanging_inbox
from gex_pipeline_tests.processes import GatewayProcess, running_gateway, wait_until
from gex_pipeline_tests.test_database_held import held

NOON = dt.datetime(2025, 11, 14, 12, tzinfo=dt.timezone(-dt.timedelta(hours=5)))
SPEED = 10
KEY = "key-of-this-test"
SOON = 30.0
# In which anything that was told twice would have come.
LOOKS_SECONDS = 3.0


@contextmanager
def watched_gateway(tmp_path: Path, *addresses: str, **environment: str) -> Iterator[GatewayProcess]:
    """Run a gateway that tells these addresses; nobody is told of the disk of the machine that tests."""
    settings = {"GEX_NOTIFY_URLS": ",".join(addresses), "GEX_DISK_LOW_GB": "0", "GEX_API_KEY": KEY} | environment
    with running_gateway(tmp_path / "data", **settings) as gateway:
        wait_until(lambda: gateway.ready()["status"] == "ready", SOON)
        wait_until(lambda: "watching http" in gateway.log, SOON)
        yield gateway


def alert(name: str) -> str:
    return f"Alert: {CONDITIONS[name].title}"


def over(name: str) -> str:
    return f"Over: {CONDITIONS[name].over}"


def post(gateway: GatewayProcess, second: int, ticker: str = "SPX") -> requests.Response:
    snapshot = {"timestamp": 1763130602 + second, "ticker": ticker, "spot": 1, "strikes": [[6890, 1, 2]]}
    return requests.post(f"{gateway.url}/gex", json=snapshot, headers={"X-API-Key": KEY}, timeout=30)


def test_a_database_that_is_held_and_a_feed_that_falls_silent_are_told_past_a_host_that_hangs(
    tmp_path: Path, inbox: Inbox
) -> None:
    names = ("loader", "backlog", "silent_feed")
    seconds: list[float] = []

    def post_and_look(titles: list[str], *tickers: str) -> bool:
        for ticker in tickers:
            began = time.monotonic()
            assert post(gateway, len(seconds), ticker).status_code == 202
            seconds.append(time.monotonic() - began)
        return set(titles) <= set(inbox.titles)

    # The age of a backlog is told by a clock that nobody can set.
    limits = {"GEX_SILENT_FEED_MINUTES": "1", "GEX_BACKLOG_MINUTES": "0.05"}
    clock = faster_clock(tmp_path / "clock", NOON, SPEED)
    with hanging_inbox() as hanging, watched_gateway(tmp_path, hanging, inbox.address, **limits, **clock) as gateway:
        post_and_look([], "SPX")
        gateway.wait_until_loaded()
        with held(gateway.data_dir / "gex_data.db") as holder:
            wait_until(lambda: post_and_look(list(map(alert, names)), "ES_SPX"), SOON)
        assert sorted(seconds)[len(seconds) * 95 // 100] < 0.5, "nobody who posts waits for a host that hangs"
        assert f"PID {holder}" in inbox.text_of(alert("loader"))
        assert "SPX:gex_zero sent last on 2025-11-14 at 12:0" in inbox.text_of(alert("silent_feed"))
        assert "ES_SPX" not in inbox.text_of(alert("silent_feed"))
        wait_until(lambda: post_and_look(list(map(over, names)), "SPX", "ES_SPX"), 2 * SOON)
        assert inbox.text_of(over("silent_feed")).startswith("SPX:gex_zero\n")
        assert gateway.stop() == 0
    assert sorted(inbox.titles) == sorted(map(alert, names)) + sorted(map(over, names)), "each told once"
    remembered = (gateway.data_dir / "journal" / "alerts.json").read_text()
    for text in (gateway.log, remembered, *map(str, inbox.received)):
        assert TOKEN not in text
        assert KEY not in text


def test_a_loader_that_is_started_again_soon_is_no_news(tmp_path: Path, inbox: Inbox) -> None:
    with watched_gateway(tmp_path, inbox.address) as gateway:
        began = time.monotonic()
        while time.monotonic() < began + LOOKS_SECONDS:
            kill_loader(gateway)
            time.sleep(0.1)
        wait_until(lambda: gateway.ready()["checks"]["loader"]["ok"], SOON)
        time.sleep(LOOKS_SECONDS)
        assert gateway.stop() == 0
    assert inbox.titles == []


def test_a_loader_that_never_stays_is_told_until_it_does(tmp_path: Path, inbox: Inbox) -> None:
    def kill_and_look() -> list[str]:
        kill_loader(gateway)
        return inbox.titles

    with watched_gateway(tmp_path, inbox.address, **faster_clock(tmp_path / "clock", NOON, SPEED)) as gateway:
        wait_until(kill_and_look, SOON)
        wait_until(lambda: over("loader") in inbox.titles, 2 * SOON)
        time.sleep(LOOKS_SECONDS)
        assert inbox.titles == [alert("loader"), over("loader")]


def kill_loader(gateway: GatewayProcess) -> None:
    process = gateway.loader_id()
    with suppress(ProcessLookupError):
        if process is not None:
            os.kill(process, signal.SIGKILL)


def test_a_gateway_that_hangs_is_told(tmp_path: Path, inbox: Inbox) -> None:
    with watched_gateway(tmp_path, inbox.address, **faster_clock(tmp_path / "clock", NOON, SPEED)) as gateway:
        os.kill(gateway.process_id, signal.SIGSTOP)
        try:
            wait_until(lambda: inbox.titles == [alert("gateway")], SOON)
        finally:
            os.kill(gateway.process_id, signal.SIGCONT)
        wait_until(lambda: inbox.titles == [alert("gateway"), over("gateway")], SOON)
        assert "ReadTimeout" in inbox.text_of(alert("gateway"))


def test_a_gateway_that_was_killed_is_told_until_another_answers(tmp_path: Path, inbox: Inbox) -> None:
    with watched_gateway(tmp_path, inbox.address, **faster_clock(tmp_path / "clock", NOON, SPEED)) as gateway:
        gateway.kill()
        wait_until(lambda: inbox.titles == [alert("gateway")], SOON)
        gateway.start()
        wait_until(lambda: inbox.titles == [alert("gateway"), over("gateway")], SOON)


def test_a_gateway_that_is_killed_and_started_again_at_once_is_no_news(tmp_path: Path, inbox: Inbox) -> None:
    with watched_gateway(tmp_path, inbox.address) as gateway:
        gateway.kill()
        gateway.start()
        wait_until(lambda: gateway.log.count("watching http") == 2, SOON)
        time.sleep(LOOKS_SECONDS)
        assert gateway.stop() == 0
    assert inbox.titles == []


def test_records_that_go_to_quarantine_are_told_until_no_more_come(tmp_path: Path, inbox: Inbox) -> None:
    with watched_gateway(tmp_path, inbox.address) as gateway:
        assert post(gateway, 0).status_code == 202
        gateway.kill()
        [segment] = (gateway.data_dir / "journal").glob("*.jsonl")
        with segment.open("ab") as file:
            file.write(b'{"received_at":17631')
        gateway.start()
        assert post(gateway, 1).status_code == 202
        wait_until(lambda: inbox.titles == [alert("quarantine")], SOON)
        assert inbox.text_of(alert("quarantine")).startswith("1 new files")
        [quarantined] = (gateway.data_dir / "quarantine").rglob("*.jsonl")
        eleven_minutes_ago = time.time() - 11 * 60
        os.utime(quarantined, (eleven_minutes_ago, eleven_minutes_ago))
        wait_until(lambda: inbox.titles == [alert("quarantine"), over("quarantine")], SOON)


@pytest.mark.parametrize(("addresses", "watchers"), [("", 0), ("json://127.0.0.1:1", 1)])
def test_somebody_watches_where_there_are_addresses(tmp_path: Path, addresses: str, watchers: int) -> None:
    with running_gateway(tmp_path / "data", GEX_NOTIFY_URLS=addresses) as gateway:
        children = Path(f"/proc/{gateway.process_id}/task/{gateway.process_id}/children").read_text().split()
        commands = [Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0") for child in children]
        assert [command[2] for command in commands].count(b"gex_pipeline.alerts") == watchers


@pytest.mark.parametrize(
    ("process", "not_needed"),
    [
        ("gex_pipeline.alerts", {"duckdb", "dagster", "polars"}),
        ("webhook_gateway", {"apprise", "pandas", "exchange_calendars"}),
    ],
)
def test_the_watcher_needs_no_database_and_the_gateway_nothing_of_the_watcher(
    process: str, not_needed: set[str]
) -> None:
    check = f"import sys, {process}.__main__; sys.exit(str({not_needed} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert result.stderr.strip() == "set()"
