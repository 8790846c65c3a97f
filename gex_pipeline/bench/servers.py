"""A server that is measured: started for the length of a block, with what it used of the machine."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan
from pathlib import Path

import requests

from gex_pipeline.bench.turns import BenchmarkError, clean_environment

GATEWAY, NOOP, PER_REQUEST = "webhook_gateway", "gex_pipeline.bench.noop_route", "gex_pipeline.bench.row_route"
START_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """A running server; its child processes, such as the loader, are not counted. No /proc, no figures: nan."""

    port: int
    process_id: int
    data_dir: Path

    @property
    def cpu_seconds(self) -> float:
        """Processor time it used so far."""
        try:
            fields = Path(f"/proc/{self.process_id}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            return nan
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak_mb(self) -> float:
        """The most memory it ever had resident, 10^6 bytes."""
        try:
            status = Path(f"/proc/{self.process_id}/status").read_text()
        except FileNotFoundError:
            return nan
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


@contextmanager
def running(module: str, folder: Path) -> Iterator[Server]:
    """Run a server on a folder of data for the length of a block.

    Raises:
        BenchmarkError: it did not start; the text has what it said.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    data_dir = folder / "data"
    command = [sys.executable, "-m", module, "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(data_dir)]
    with (folder / "server.log").open("w+b") as log:
        process = subprocess.Popen(command, cwd=folder, env=clean_environment(), stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise BenchmarkError(f"{module} did not start: {log.read().decode(errors='replace')[-2000:]}")
                time.sleep(0.05)
            yield Server(port, process.pid, data_dir)
        finally:
            process.terminate()
            process.wait()


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/ready", timeout=5).ok
    except requests.ConnectionError:
        return False
