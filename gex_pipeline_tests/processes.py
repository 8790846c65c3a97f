"""The gateway as its own process, for tests: start it, ask it, stop it, kill it, look into its database."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

from gex_pipeline.settings import variable_names
from gex_pipeline.storage.lease import lease

START_SECONDS = 30.0
STOP_SECONDS = 40.0


class GatewayProcess:
    """One `python -m webhook_gateway` on a port and a data folder of its own; what it logs is in `log_path`."""

    def __init__(self, data_dir: Path, *flags: str, **environment: str) -> None:
        self.data_dir = data_dir
        self.log_path = data_dir.with_name(f"{data_dir.name}.gateway.log")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = gateway_command("--port", str(self.port), "--data-dir", str(data_dir), *flags)
        self._environment = clean_environment(**environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int:
        """The running gateway's process id."""
        assert self._process is not None, "the gateway is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that the gateway and its loader logged so far."""
        return self.log_path.read_text()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment, cwd=self.data_dir.parent
            )
        wait_until(lambda: self._answers() or self._has_ended(), START_SECONDS)
        assert not self._has_ended(), self.log

    def ready(self) -> dict[str, Any]:
        """Return what `/ready` says."""
        answer: dict[str, Any] = requests.get(f"{self.url}/ready", timeout=10).json()
        return answer

    def loader_id(self) -> int | None:
        """Return the process id of its loader, None while there is none."""
        process_id: int | None = self.ready()["checks"]["loader"]["process"]
        return process_id

    def wait_until_loaded(self, seconds: float = 20.0) -> None:
        """Wait until everything in the journal is in the database."""
        wait_until(lambda: self.ready()["checks"]["backlog"]["bytes"] == 0, seconds)

    def rows(self, query: str) -> list[Any]:
        """Return what a query finds in its database."""
        with lease(self.data_dir / "gex_data.db", purpose="look", timeout_seconds=10, read_only=True) as connection:
            return connection.execute(query).fetchall()

    def stop(self) -> int:
        """Ask it to stop, as an operator would, and return its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, as a crash would. Its loader notices by itself."""
        self._end(signal.SIGKILL)

    def _answers(self) -> bool:
        with suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/health", timeout=10).ok
        return False

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(number)
        try:
            return process.wait(STOP_SECONDS)
        finally:
            process.kill()
            process.wait()


@contextmanager
def running_gateway(data_dir: Path, *flags: str, **environment: str) -> Iterator[GatewayProcess]:
    """Run a gateway with its loader for the length of a block."""
    gateway = GatewayProcess(data_dir, *flags, **environment)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.stop()


def gateway_command(*flags: str) -> list[str]:
    """Return the command line of a gateway."""
    return [sys.executable, "-m", "webhook_gateway", *flags]


def gex(*arguments: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of `gex` on a data folder and return what it said."""
    command = [sys.executable, "-m", "gex_pipeline.cli", *arguments]
    environment = clean_environment(GEX_DATA_DIR=str(data_dir))
    return subprocess.run(
        command, env=environment, cwd=data_dir.parent, capture_output=True, text=True, timeout=300, check=False
    )


def clean_environment(**environment: str) -> dict[str, str]:
    """Return this process's environment with these settings and no others."""
    settings = {name for names in variable_names().values() for name in names}
    return {name: value for name, value in os.environ.items() if name not in settings} | environment


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_running(process_id: int) -> bool:
    """Tell whether a process lives; one that ended and that nobody has collected yet does not."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    """Return as soon as the condition holds; fail when it has not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still waiting after {seconds:g} s"
        time.sleep(0.02)


@contextmanager
def child(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs this code and has said `ready`; killed at the end if it still runs."""
    command = [sys.executable, "-c", f"import sys, time\n{code}", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Read from a database file that nobody else holds."""
    with lease(path, purpose="look", timeout_seconds=5, read_only=True) as connection:
        return connection.execute(sql).fetchall()
