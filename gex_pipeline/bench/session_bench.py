"""A live session's load on the gateway while day files are imported and backups are made."""

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import requests

from gex_pipeline.bench.paced import PacedRun
from gex_pipeline.bench.servers import GATEWAY, Server, running
from gex_pipeline.bench.session_files import FULL_SESSION
from gex_pipeline.bench.turns import BenchmarkError, Tell, clean_environment, in_fresh_process, scratch_folder
from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import LeaseTimeoutError, PermanentError
from gex_pipeline.storage.lease import lease

PER_SECOND = 120
ROUND_SECONDS = 15.0
PROBE_SECONDS, LOOK_SECONDS, PATIENCE_SECONDS = 1.0, 0.05, 60.0


@dataclass(frozen=True)
class SessionRun:
    """What a session saw.

    Attributes:
        load: what the clients saw.
        imports: how many day files were imported meanwhile.
        backups: how many backups were made meanwhile.
        queryable_p50_seconds: from an answer to when a query finds the row.
        queryable_p95_seconds: likewise.
    """

    load: PacedRun
    imports: int
    backups: int
    queryable_p50_seconds: float
    queryable_p95_seconds: float


def run_session(day: Path, *, seconds: float, tell: Tell) -> SessionRun:
    """Load a gateway as a session does, for so long.

    Args:
        day: a history file of FULL_SESSION's feed; each import is of another ticker.
        seconds: of load.
        tell: told what is going on.

    Raises:
        BenchmarkError: the gateway did not start, an import or a backup failed, or a row did not come.
    """
    with scratch_folder() as folder, running(GATEWAY, folder) as server:
        tell(f"{PER_SECOND} requests/s for {seconds:g} s, with imports and backups")
        is_over = threading.Event()
        work, waits = [0, 0], list[float]()
        failures: list[Exception] = []
        others = [
            threading.Thread(target=_until_failed, args=(task, failures))
            for task in (
                partial(_import_and_back_up, server, day, folder, is_over, work),
                partial(_look, server, is_over, waits),
            )
        ]
        for thread in others:
            thread.start()
        try:
            load = in_fresh_process("paced", server.port, PER_SECOND, seconds, cwd=folder, result=PacedRun)
        finally:
            is_over.set()
            for thread in others:
                thread.join()
        if failures:
            raise failures[0]
    imports, backups = work
    return SessionRun(load, imports, backups, statistics.median(waits), float(np.percentile(waits, 95)))


def _until_failed(task: Callable[[], None], failures: list[Exception]) -> None:
    try:
        task()
    except Exception as error:  # noqa: BLE001 - raised again where the session ends
        failures.append(error)


def _import_and_back_up(server: Server, day: Path, folder: Path, is_over: threading.Event, work: list[int]) -> None:
    """Import another ticker's file and make a backup, a round every ROUND_SECONDS."""
    while not is_over.is_set():
        ends_at = time.monotonic() + ROUND_SECONDS
        ticker = f"DAY{work[0]}"
        file = folder / day.name.replace(FULL_SESSION.feed.ticker, ticker)
        file.write_bytes(day.read_bytes().replace(FULL_SESSION.feed.ticker.encode(), ticker.encode()))
        _gex(server, folder, "import", str(file))
        file.unlink()
        work[0] += 1
        if not is_over.is_set():
            _gex(server, folder, "backup", "create")
            work[1] += 1
        is_over.wait(ends_at - time.monotonic())


def _gex(server: Server, folder: Path, *arguments: str) -> None:
    environment = clean_environment() | {"GEX_DATA_DIR": os.fspath(server.data_dir)}
    command = [sys.executable, "-m", "gex_pipeline.cli", *arguments]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise BenchmarkError(f"gex {arguments[0]} failed: {ended.stderr.strip()[-2000:]}")


def _look(server: Server, is_over: threading.Event, waits: list[float]) -> None:
    """Post a snapshot every second and note how long a query does not find it."""
    while True:
        timestamp = epoch_ms()
        requests.post(
            f"http://127.0.0.1:{server.port}/gex",
            json={"timestamp": timestamp, "ticker": "LOOK", "spot": 1.0},
            timeout=PATIENCE_SECONDS,
        ).raise_for_status()
        answered_at = time.perf_counter()
        while not _is_there(server, timestamp):
            if time.perf_counter() - answered_at > PATIENCE_SECONDS:
                raise BenchmarkError(f"a captured snapshot was not found within {PATIENCE_SECONDS:g} s")
            time.sleep(LOOK_SECONDS)
        waits.append(time.perf_counter() - answered_at)
        if is_over.wait(PROBE_SECONDS):
            return


def _is_there(server: Server, timestamp: int) -> bool:
    try:
        with lease(
            server.data_dir / "gex_data.db", purpose="look", timeout_seconds=PATIENCE_SECONDS, read_only=True
        ) as connection:
            query = "SELECT count(*) FROM gex_snapshots WHERE ticker = 'LOOK' AND timestamp = ?"
            return connection.execute(query, [timestamp]).fetchall() == [(1,)]
    except (PermanentError, LeaseTimeoutError):  # no database yet
        return False
