"""Another program has the database open: captures go on as if nothing were, and are loaded when it lets go."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import requests

from gex_pipeline_tests.processes import running_gateway, wait_until

HOLD_SECONDS = 15.0
CLIENTS = 4
CLIENT_PAUSE_SECONDS = 0.02
P95_SECONDS = 0.5
# The loader's pause between attempts grows with the time it has waited.
CATCH_UP_SECONDS = 60.0
FIRST_MS = 1_763_130_600_000
# The gateway may have the file for a moment itself.
HOLDER = """
import duckdb, sys, time
while True:
    try:
        database = duckdb.connect(sys.argv[1])
        break
    except duckdb.IOException:
        time.sleep(0.01)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(database: Path) -> Iterator[int]:
    """Keep the file open in a process of its own, as a notebook would; give its process id."""
    command = [sys.executable, "-c", HOLDER, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield holder.pid


def post_until(stop: threading.Event, url: str, ticker: str) -> list[float]:
    """Post a snapshot and a message in turn, each of which must be accepted; return the seconds each answer took."""
    latencies: list[float] = []
    with requests.Session() as session:
        while not stop.wait(CLIENT_PAUSE_SECONDS):
            number = len(latencies)
            snapshot = {"timestamp": FIRST_MS + number, "ticker": ticker, "spot": 1, "strikes": [[6890, 1, 2]]}
            path, body = ("/gex", snapshot) if number % 2 == 0 else ("/uw", ["alerts", {"id": f"{ticker} {number}"}])
            began = time.monotonic()
            answer = session.post(url + path, json=body, timeout=30)
            latencies.append(time.monotonic() - began)
            assert answer.status_code == (202 if number % 2 == 0 else 200)
    return latencies


def test_captures_are_taken_while_the_database_is_held_and_loaded_afterwards(tmp_path: Path) -> None:
    stop = threading.Event()
    with running_gateway(tmp_path / "data") as gateway, ThreadPoolExecutor(CLIENTS) as pool:
        wait_until(lambda: gateway.ready()["status"] == "ready", 10)
        with held(gateway.data_dir / "gex_data.db") as holder:
            clients = [pool.submit(post_until, stop, gateway.url, f"T{number}") for number in range(CLIENTS)]
            try:
                wait_until(lambda: gateway.ready()["status"] == "degraded", HOLD_SECONDS)
                wait_until(lambda: gateway.ready()["checks"]["backlog"]["age_seconds"] > 3, HOLD_SECONDS)
                checks = gateway.ready()["checks"]
                queue = requests.get(f"{gateway.url}/gex_history_queue", timeout=30)
            finally:
                stop.set()
            latencies = sorted(latency for client in clients for latency in client.result())
        assert (checks["journal"]["ok"], checks["loader"]["ok"]) == (True, False)
        assert f"PID {holder}" in checks["loader"]["error"]
        assert checks["backlog"]["bytes"] > 0
        assert queue.status_code == 503
        assert int(queue.headers["Retry-After"]) > 0
        assert latencies[int(len(latencies) * 0.95)] < P95_SECONDS

        wait_until(lambda: gateway.ready()["status"] == "ready", CATCH_UP_SECONDS)
        gateway.wait_until_loaded()
        snapshots = "SELECT count(*), count(DISTINCT (ticker, timestamp)) FROM gex_snapshots"
        messages = "SELECT count(*), count(DISTINCT payload) FROM universal_webhooks"
        stored = [*gateway.rows(snapshots), *gateway.rows(messages)]
        assert [whole for whole, _ in stored] == [distinct for _, distinct in stored]
        assert sum(whole for whole, _ in stored) == len(latencies)


def test_a_gateway_stops_soon_although_the_database_is_held(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data") as gateway:
        wait_until(lambda: gateway.ready()["status"] == "ready", 10)
        with held(gateway.data_dir / "gex_data.db"):
            assert requests.post(f"{gateway.url}/uw", json=["alerts", {}], timeout=30).ok
            wait_until(lambda: gateway.ready()["status"] == "degraded", HOLD_SECONDS)
            assert gateway.stop() == 0
            assert "killing it" not in gateway.log
