"""Gateway and loader killed again and again under load: what was acknowledged is in the database, once.

More often than in every run of the tests: `KILLS=100 .venv/bin/pytest -n 0 -s gex_pipeline_tests/test_kill.py`.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from gex_pipeline.loader.status import read_status
from gex_pipeline_tests.processes import GatewayProcess, running_gateway

KILLS = int(os.environ.get("KILLS", "15"))
CLIENTS = 6
CLIENT_PAUSE_SECONDS = 0.01
DRAIN_SECONDS = 60.0
STRIKES = 3
FIRST_MS = 1_763_130_600_000

Capture = tuple[str, int]


class Client:
    """Posts unique captures, each of them once: snapshots, alerts and trades in turn."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.sent: set[Capture] = set()
        self.acknowledged: set[Capture] = set()
        self._url = url

    def run(self, stop: threading.Event) -> None:
        """Post until told to stop; what was not acknowledged is not sent again."""
        with requests.Session() as session:
            while not stop.wait(CLIENT_PAUSE_SECONDS):
                number = len(self.sent)
                path, body = self._capture(number)
                self.sent.add((self.name, number))
                with suppress(requests.RequestException):
                    if session.post(self._url + path, json=body, timeout=30).ok:
                        self.acknowledged.add((self.name, number))

    def _capture(self, number: int) -> tuple[str, object]:
        moment = FIRST_MS + number
        if number % 3 == 0:
            strikes = [[strike, number, -number, [number] * 5] for strike in range(1, STRIKES + 1)]
            return "/gex", {"timestamp": moment, "ticker": self.name, "spot": number, "strikes": strikes}
        if number % 3 == 1:
            return "/uw", ["flow-alerts", {"id": f"{self.name} {number}"}]
        contract = {"executed_at": moment, "option_chain_id": "SPXW251114C06850000"}
        return "/uw", ["option_trades:SPXW", {"id": f"{self.name} {number}"} | contract]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    with running_gateway(tmp_path / "data") as gateway:
        yield gateway


def test_what_was_acknowledged_is_there_once_whatever_is_killed(gateway: GatewayProcess) -> None:
    seed = time.time_ns() % 1_000_000
    clients = [Client(f"T{number}", gateway.url) for number in range(CLIENTS)]
    stop = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(client.run, stop) for client in clients]
        try:
            killed = kill_at_random(gateway, random.Random(seed))
        finally:
            stop.set()
    for each in running:
        each.result()
    sent = set[Capture]().union(*(client.sent for client in clients))
    acknowledged = set[Capture]().union(*(client.acknowledged for client in clients))
    print(f"seed {seed}: killed {dict(killed)}, sent {len(sent)}, acknowledged {len(acknowledged)}")  # noqa: T201

    gateway.kill()
    gateway.start()
    gateway.wait_until_loaded(DRAIN_SECONDS)

    stored = stored_captures(gateway)
    assert not acknowledged - stored.keys(), "acknowledged and lost"
    assert not stored.keys() - sent, "never sent"
    assert not {capture: times for capture, times in stored.items() if times > 1}, "there more than once"
    assert_whole(gateway, stored)


def kill_at_random(gateway: GatewayProcess, dice: random.Random) -> Counter[str]:
    """Kill the gateway, which is then started again, or a loader of it; at moments that nobody chose."""
    killed: Counter[str] = Counter()
    while killed.total() < KILLS:
        time.sleep(dice.uniform(0.1, 1.2))
        if dice.random() < 0.5:
            gateway.kill()
            gateway.start()
            killed["gateway"] += 1
        elif loader_ids := running_loader_ids(gateway):
            os.kill(dice.choice(loader_ids), signal.SIGKILL)
            killed["loader"] += 1
    return killed


def running_loader_ids(gateway: GatewayProcess) -> list[int]:
    """Return the gateway's loader, and that of its predecessor while it still loads what it found."""
    status = read_status(gateway.data_dir / "journal")
    candidates = {gateway.loader_id(), status.process if status else None} - {None}
    return sorted(each for each in candidates if each is not None and is_loader(each))


def is_loader(process_id: int) -> bool:
    with suppress(FileNotFoundError):
        return b"gex_pipeline.loader" in Path(f"/proc/{process_id}/cmdline").read_bytes()
    return False


def stored_captures(gateway: GatewayProcess) -> Counter[Capture]:
    """Return how often each capture is in the database."""
    snapshots = gateway.rows("SELECT ticker, timestamp FROM gex_snapshots")
    messages = gateway.rows("SELECT payload->>'id' FROM universal_webhooks")
    stored = Counter((ticker, timestamp - FIRST_MS) for ticker, timestamp in snapshots)
    for (identity,) in messages:
        name, _, number = identity.partition(" ")
        stored[name, int(number)] += 1
    return stored


def assert_whole(gateway: GatewayProcess, stored: Counter[Capture]) -> None:
    """Check that every stored capture has all that belongs to it, with its own values."""
    ladders = gateway.rows(
        "SELECT ticker, timestamp, count(*), count(DISTINCT strike), min(gamma), max(gamma) FROM gex_strikes "
        "GROUP BY ticker, timestamp"
    )
    snapshots = {(name, number) for name, number in stored if number % 3 == 0}
    assert {(ticker, timestamp - FIRST_MS) for ticker, timestamp, *_ in ladders} == snapshots
    assert all(rest == [STRIKES, STRIKES, moment - FIRST_MS, moment - FIRST_MS] for _, moment, *rest in ladders)
    trades = Counter(identity for (identity,) in gateway.rows("SELECT id FROM option_trades_events"))
    assert trades == {f"{name} {number}": 1 for name, number in stored if number % 3 == 2}
