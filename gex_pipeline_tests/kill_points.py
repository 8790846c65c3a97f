"""Processes that stop at one point of an import, to be killed there; run as a module it forks one for each order.

A point is a call that is about to change something durable: a file is opened for writing, renamed, linked, removed,
given another time or mode, cut or synced, a statement changes the database, or the database is closed. Nothing
durable happens between two points, so that a process which stops before one of them has also stopped right after the
one before it.
"""

import json
import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any, cast

from gex_pipeline.backups.creating import create_backup
from gex_pipeline.errors import TransientError
from gex_pipeline.history import judging
from gex_pipeline.history.exporting import export_day
from gex_pipeline.history.importing import import_staged
from gex_pipeline.history.obtaining import obtain
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.staging import stage
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage import lease
from gex_pipeline_tests.processes import clean_environment, is_running, wait_until

_CHANGING_SQL = re.compile(
    r"BEGIN|COMMIT|ROLLBACK|INSERT|DELETE FROM gex|UPDATE|CREATE (?!OR REPLACE TEMP)|ALTER|COPY|CHECKPOINT"
)
_CHANGING_EVENTS = {"os.rename", "os.remove", "os.link", "os.truncate", "os.utime", "os.chmod", "os.rmdir"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True)
class Order:
    """What a process shall do.

    Attributes:
        folder: holds the data folder `data`; the process leaves there what became of it.
        host: that history may be fetched from.
        partition: its key.
        task: a whole import, one that replaces, or a backup.
        stop_at: the number of the point at which it stops, from 1; None runs to the end.
    """

    folder: str
    host: str
    partition: str
    task: str
    stop_at: int | None = None


@dataclass(frozen=True)
class Done:
    """What became of a process: `done` or its traceback, and the points that it passed."""

    outcome: str
    points: list[str]


# The arguments of Python that run this module.
KILL_POINTS = ("-m", "gex_pipeline_tests.kill_points")


class Forks:
    """One warm process whose children do what they are ordered; each is a process of its own and dies alone.

    It is a Python program that says `ready`, reads an order in JSON from each line, forks and says the child's id.
    """

    def __init__(self, *program: str) -> None:
        self._turn = Lock()
        self._process = subprocess.Popen(
            [sys.executable, *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment(),
            start_new_session=True,
        )
        assert self._read() == "ready\n"

    def start(self, order: object) -> int:
        """Start a process and return its id."""
        assert self._process.stdin is not None
        with self._turn:
            self._process.stdin.write(json.dumps(vars(order)) + "\n")
            self._process.stdin.flush()
            return int(self._read())

    def wait(self, order: Order, process_id: int) -> Done:
        """Wait for a process to end by itself."""
        wait_until(lambda: not is_running(process_id), 60)
        return Done(**json.loads(outcome_path(order, process_id).read_text()))

    def stop(self) -> None:
        """End it with all its children."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate(timeout=30)

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def outcome_path(order: Order, process_id: int) -> Path:
    """Return where a process says what became of it."""
    return Path(order.folder, f"outcome-{process_id}")


class _Points:
    """Counts the points that a process passes and stops it at one of them."""

    def __init__(self, order: Order) -> None:
        self.passed: list[str] = []
        self._stop_at = order.stop_at
        self._root = str(Path(order.folder, "data"))

    def watch(self) -> None:
        """Count from now on."""
        sys.addaudithook(self._audit)
        os.fsync = self._counting("fsync", os.fsync)
        os.pwrite = self._counting("pwrite", os.pwrite)
        attach = lease._attach

        def watched(database: Path, *, read_only: bool) -> Any:
            attached = attach(database, read_only=read_only)
            if not read_only:
                attached.connection = cast("Any", _Watched(attached.connection, self._pass))
            return attached

        lease._attach = watched

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & _WRITING and self._matters(path):
                self._pass(f"open {path}")
        elif event == "os.remove" and not Path(arguments[0]).exists():
            pass  # it was renamed, which is what usually becomes of a temporary file
        elif event in _CHANGING_EVENTS and self._matters(arguments[0]):
            self._pass(f"{event} {arguments[0]}")

    def _matters(self, path: object) -> bool:
        # A lock holds nothing, and whoever dies gives it up; the note beside it is only read by those who wait.
        if isinstance(path, int):
            return True
        file = str(path)
        return file.startswith(self._root) and not file.endswith((".lock", ".holder"))

    def _counting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            self._pass(name)
            return function(*arguments)

        return counted

    def _pass(self, point: str) -> None:
        self.passed.append(point.replace(self._root, "data"))
        if len(self.passed) == self._stop_at:
            os.kill(os.getpid(), signal.SIGSTOP)


class _Watched:
    """A connection whose changing statements and closing are points."""

    def __init__(self, connection: Any, point: Callable[[str], None]) -> None:
        self._connection = connection
        self._point = point

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *arguments: Any) -> Any:
        if _CHANGING_SQL.match(sql):
            self._point(sql[:40])
        return self._connection.execute(sql, *arguments)

    def close(self) -> None:
        self._point("close the database")
        self._connection.close()


def _import(settings: Settings, partition: Partition, *, replace: bool = False) -> None:
    try:
        file = obtain(settings, partition, lambda *_: None).file
    except TransientError:  # as the step does, which is retried
        file = obtain(settings, partition, lambda *_: None).file
    stage(settings, partition, file)
    _check(judging.STAGED, settings, partition)
    import_staged(settings, partition, "run", replace=replace)
    _check(judging.STORED, settings, partition)
    export_day(settings, partition, "snapshots")
    export_day(settings, partition, "strikes")
    _check(judging.PUBLISHED, settings, partition)


def _check(family: tuple[judging.Check, ...], settings: Settings, partition: Partition) -> None:
    for check, verdict in zip(family, judging.judge(family, settings, partition), strict=True):
        assert verdict.passed or check.is_warning, f"{check.asset} {check.name}: {verdict.description}"


def _run(order: Order) -> None:
    settings = load_settings(
        data_dir=Path(order.folder, "data"),
        history_hosts=order.host,
        backup_max_age_hours=0,
        backup_keep=2,
        backup_keep_days=0,
    )
    partition = Partition.parse(order.partition)
    if order.task == "backup":
        create_backup(settings, reason="test")
    else:
        _import(settings, partition, replace=order.task == "replace")


def _obey(order: Order) -> None:
    points = _Points(order)
    points.watch()
    outcome = "done"
    try:
        _run(order)
    except BaseException:  # noqa: BLE001 - whatever it was, the test shows it
        outcome = traceback.format_exc()
    done = Done(outcome, points.passed)
    outcome_path(order, os.getpid()).write_text(json.dumps(asdict(done)))


def _serve() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        process_id = os.fork()
        if process_id == 0:
            _obey(Order(**json.loads(line)))
            os._exit(0)
        sys.stdout.write(f"{process_id}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
