"""`gex up`: the gateway, Dagster's code server, UI and daemon under one supervisor that stops them all in order."""

import contextlib
import ctypes
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO

from filelock import FileLock, Timeout

from gex_pipeline.dagster_home import prepare_dagster_home
from gex_pipeline.errors import PermanentError
from gex_pipeline.logs import configure_logging, rotate
from gex_pipeline.priority import IMPORTING, give_way
from gex_pipeline.settings import Settings, SettingsError, environment_for_children, require_writable

POLL_SECONDS = 0.2
STOP_SECONDS = 30.0
START_SECONDS = 90.0
HEALTHY_AFTER_SECONDS = 30.0
MAX_QUICK_ENDS = 5
LONGEST_PAUSE_SECONDS = 60.0
LOG_TAIL_LINES = 15
_PR_SET_PDEATHSIG = 1
_WORKSPACE = """\
load_from:
  - grpc_server:
      socket: {socket}
      location_name: gex_pipeline.definitions
"""

logger = logging.getLogger("gex_pipeline.up")


@dataclass
class Child:
    """One process of the system.

    Attributes:
        answers: whether the process is ready; None when it cannot be asked.
        log: where its output goes; None for our own standard error.
        can_wait: captures and readers go before it on a busy machine, and before what it starts.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    answers: Callable[[], bool] | None = None
    log: Path | None = None
    can_wait: bool = False
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    quick_ends: int = 0
    restart_at: float = field(default=0.0)

    def start(self) -> None:
        """Start the process, in a process group of its own."""
        with contextlib.ExitStack() as stack:
            output: IO[bytes] | None = stack.enter_context(self.log.open("ab")) if self.log else None
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=self._begin,  # noqa: PLW1509 - this process has one thread
            )
        self.started = time.monotonic()

    def _begin(self) -> None:
        _end_with_parent()
        if self.can_wait:
            give_way(IMPORTING)

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Ask the process to end, and end what is left of its group after STOP_SECONDS."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("%s did not stop within %g s and is killed", self.name, STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def run_all(settings: Settings) -> int:
    """Run everything until SIGTERM or SIGINT; return the process's exit status.

    Raises:
        SettingsError: a folder cannot be written or a port is taken.
        PermanentError: the system already runs on this data folder.
    """
    require_writable(settings.data_dir)
    log_dir = settings.log_dir or settings.data_dir / "logs"
    require_writable(log_dir)
    _require_free_port("GEX_PORT", settings.host, settings.port)
    _require_free_port("GEX_DAGSTER_PORT", "127.0.0.1", settings.dagster_port)
    configure_logging(settings, "up")
    stop = _StopFlag()
    lock = FileLock(settings.data_dir / ".up.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise PermanentError(f"gex up already runs on {settings.data_dir}; stop it first") from error
    # The path of a socket has to be short.
    with tempfile.TemporaryDirectory(prefix="gex-") as scratch:
        servers, clients = _children(settings, log_dir, Path(scratch))
        try:
            prepare_dagster_home(settings)
            environment = servers[0].environment
            subprocess.run([sys.executable, "-m", "gex_pipeline.orphaned_runs"], env=environment, check=False)
            for group in (servers, clients):
                for child in group:
                    child.start()
                if not _wait_until_ready(group, stop):
                    return 0 if stop.is_set else 1
            logger.info("gateway  %s", settings.gateway_address)
            logger.info("Dagster  http://127.0.0.1:%d", settings.dagster_port)
            logger.info("data     %s (logs in %s)", settings.data_dir, log_dir)
            return _watch([*servers, *clients], stop)
        finally:
            logger.info("stopping")
            # The daemon first, so that nothing new begins; the gateway last, to take captures until the end.
            for child in reversed([*servers, *clients]):
                child.stop()
            lock.release()


class _StopFlag:
    """Set by SIGTERM and SIGINT."""

    def __init__(self) -> None:
        self.is_set = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._set)

    def _set(self, _number: int, _frame: FrameType | None) -> None:
        self.is_set = True


def _children(settings: Settings, log_dir: Path, scratch: Path) -> tuple[list[Child], list[Child]]:
    """Return the gateway and the code server, and then those that ask the code server as they start."""
    environment = environment_for_children(settings)
    scripts = Path(sys.executable).parent
    gateway = [sys.executable, "-m", "webhook_gateway", "--host", settings.host, "--port", str(settings.port)]
    gateway += ["--log-level", settings.log_level, "--log-dir", str(log_dir.absolute())]
    # One code server for both: each would start its own, and the daemon another one every minute.
    code_socket, workspace = scratch / "code-server.sock", scratch / "workspace.yaml"
    workspace.write_text(_WORKSPACE.format(socket=code_socket))
    code_server = [
        str(scripts / "dagster"),
        "api",
        "grpc",
        "--socket",
        str(code_socket),
        "-m",
        "gex_pipeline.definitions",
    ]
    code_server += ["--log-level", "warning"]
    webserver = [str(scripts / "dagster-webserver"), "-w", str(workspace), "--port", str(settings.dagster_port)]
    webserver += ["--suppress-warnings", "--dagster-log-level", "warning"]
    daemon = [str(scripts / "dagster-daemon"), "run", "-w", str(workspace), "--log-level", "warning"]
    servers = [
        Child("gateway", gateway, environment, answers=partial(_answers, f"{settings.gateway_address}/health")),
        Child(
            "Dagster code server",
            code_server,
            environment,
            answers=partial(_listens, code_socket),
            log=log_dir / "dagster-code-server.log",
            can_wait=True,
        ),
    ]
    clients = [
        Child(
            "Dagster UI",
            webserver,
            environment,
            answers=partial(_answers, f"http://127.0.0.1:{settings.dagster_port}/server_info"),
            log=log_dir / "dagster-webserver.log",
        ),
        Child("Dagster daemon", daemon, environment, log=log_dir / "dagster-daemon.log", can_wait=True),
    ]
    return servers, clients


def _wait_until_ready(children: list[Child], stop: _StopFlag) -> bool:
    """Wait until all that can be asked answer; say what is wrong and return False when one does not."""
    deadline = time.monotonic() + START_SECONDS
    waiting = children
    while waiting and not stop.is_set:
        for child in children:
            if not child.is_running or time.monotonic() > deadline:
                logger.error("%s did not start%s", child.name, _tail(child))
                return False
        waiting = [child for child in waiting if child.answers and not child.answers()]
        time.sleep(POLL_SECONDS)
    return not stop.is_set


def _watch(children: list[Child], stop: _StopFlag) -> int:
    """Start what ends again, with growing pauses; give up when the gateway, which comes first, never stays."""
    while not stop.is_set:
        time.sleep(POLL_SECONDS)
        now = time.monotonic()
        for child in children:
            if child.log is not None:
                rotate(child.log)
            if child.is_running:
                continue
            if child.restart_at == 0.0:
                child.quick_ends = child.quick_ends + 1 if now - child.started < HEALTHY_AFTER_SECONDS else 1
                if child.quick_ends > MAX_QUICK_ENDS and child is children[0]:
                    logger.error("%s does not stay up%s", child.name, _tail(child))
                    return 1
                # Dagster may be without its storage for hours; the gateway goes on meanwhile.
                pause = min(2.0 ** (child.quick_ends - 1), LONGEST_PAUSE_SECONDS)
                logger.warning("%s ended; starting it again in %g s%s", child.name, pause, _tail(child))
                child.restart_at = now + pause
            elif now >= child.restart_at:
                child.restart_at = 0.0
                child.start()
    return 0


def _require_free_port(name: str, host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"{name}={port}: cannot listen on {host}:{port}: {error.strerror or error}"
            ) from error


def _answers(url: str) -> bool:
    try:
        # Our own address, whose certificate is made out to another name.
        with urllib.request.urlopen(url, timeout=2, context=_unchecked()) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _tail(child: Child) -> str:
    """Return the end of a child's log, for the message that it failed."""
    if child.log is None or not child.log.exists():
        return ""
    lines = child.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return "; the end of " + str(child.log) + ":\n" + "\n".join(lines)


def _end_with_parent() -> None:
    """Have Linux end this child when the supervisor is killed, which then can stop nothing itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
