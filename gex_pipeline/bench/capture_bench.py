"""Captures: the whole gateway with its loader over loopback, beside a route that does nothing on the same server."""

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import requests

from gex_pipeline.bench.load import LoadRun
from gex_pipeline.bench.turns import (
    BenchmarkError,
    Tell,
    clean_environment,
    in_fresh_process,
    scratch_folder,
    take_turns,
)

CLIENTS = 10
START_SECONDS = 60.0
GATEWAY, NOOP = "gateway", "no-op route"
_MODULES = {GATEWAY: "webhook_gateway", NOOP: "gex_pipeline.bench.noop_route"}


@dataclass(frozen=True)
class CaptureComparison:
    """Medians of both over the rounds."""

    gateway: LoadRun
    noop: LoadRun

    @property
    def ratio(self) -> float:
        """Requests per second of the gateway, as a part of the no-op route's."""
        return self.gateway.requests_per_second / self.noop.requests_per_second


def compare_captures(*, repeat: int, seconds: float, tell: Tell) -> CaptureComparison:
    """Load the gateway and the no-op route in turns, each time a server just started on an empty folder.

    Args:
        repeat: how many rounds, at least 1.
        seconds: of load in each turn.
        tell: told which turn is next.

    Raises:
        BenchmarkError: a server did not start, or an answer was not 202.
    """
    contenders = {name: partial(_load, module, seconds) for name, module in _MODULES.items()}
    runs = take_turns(contenders, repeat, tell)
    return CaptureComparison(_medians(runs[GATEWAY]), _medians(runs[NOOP]))


def _load(module: str, seconds: float, _turn: int) -> LoadRun:
    with scratch_folder() as folder, _running(module, folder) as port:
        return in_fresh_process("load", port, CLIENTS, seconds, cwd=folder, result=LoadRun)


def _medians(runs: Sequence[LoadRun]) -> LoadRun:
    return LoadRun(
        runs[0].body_bytes,
        statistics.median(run.requests_per_second for run in runs),
        statistics.median(run.p50_ms for run in runs),
        statistics.median(run.p95_ms for run in runs),
        statistics.median(run.p99_ms for run in runs),
    )


@contextmanager
def _running(module: str, folder: Path) -> Iterator[int]:
    """Run a server for the length of a block; yields its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", module, "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("w+b") as log:
        server = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data")],
            cwd=folder,
            env=clean_environment(),
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(port):
                if server.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise BenchmarkError(f"{module} did not start: {log.read().decode(errors='replace')[-2000:]}")
                time.sleep(0.05)
            yield port
        finally:
            server.terminate()
            server.wait()


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/ready", timeout=5).ok
    except requests.ConnectionError:
        return False
