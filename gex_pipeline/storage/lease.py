"""Short leases of the DuckDB file: take the lock, open, do one thing, close.

DuckDB lets one process open a file for writing and then no other may even read it, so nobody keeps it open.
"""

import datetime as dt
import fcntl
import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import duckdb
from filelock import FileLock, Timeout
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from gex_pipeline.errors import DamagedDatabaseError, LeaseTimeoutError, PermanentError
from gex_pipeline.storage.disk import disk_errors
from gex_pipeline.storage.files import Version, sync, version_of
from gex_pipeline.storage.lease_waits import note_wait

# How DuckDB begins to say that what it reads is not what was written; the second is said of other files too.
_CORRUPT, _CUT_OFF = "Corrupt database file", "Could not read enough bytes from file"
# A file made with DuckDB 2's own default could not be opened by 1.x tools. This one opens with 1.3 and later; with
# the storage of 1.2 texts would take half as long again to write.
NEW_FILE_STORAGE_VERSION = "v1.3.0"
DEFAULT_TIMEOUT_SECONDS = 60.0
# As a rule a lease is given back within a second; who waits looks again soon, so that captures can be queried soon.
LONGEST_PAUSE_SECONDS = 0.1
# Who is next looks often: there is only one.
NEXT_PAUSE_SECONDS = 0.01
# What the database of a lease is called in SQL that names one. DuckDB keeps views and macros without that name.
_ALIAS = "gex_data"
_CONFIG: dict[str, Any] = {"autoinstall_known_extensions": "false"}
_MOST_INSTANCES = 4
# DuckDB's main header and its two database headers, the later of which counts checkpoints.
_HEADER_BYTES = 3 * 4096


class _BusyError(Exception):
    """The file is held by somebody else right now."""


class _Opened(Protocol):
    def close(self) -> None: ...


# Starting DuckDB takes ten times as long as attaching a file, so a process starts it once for each file.
_instances: dict[tuple[int, Path | None], duckdb.DuckDBPyConnection] = {}


@dataclass
class _Attached:
    """A database file attached to this process's DuckDB, and a connection of its own to it."""

    instance: duckdb.DuckDBPyConnection
    connection: duckdb.DuckDBPyConnection
    is_sound: bool = True

    def close(self) -> None:
        """Let go of the file. After an error DuckDB is not trusted any more and ends with it."""
        self.connection.close()
        try:
            self.instance.execute(f"DETACH {_ALIAS}")
        except duckdb.Error:  # what is committed is in the log, whatever became of the checkpoint
            self.is_sound = False
        if not self.is_sound:
            _end(self.instance)


Opened = TypeVar("Opened", bound=_Opened)


@contextmanager
def lease(
    database: Path, *, purpose: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS, read_only: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Hold the database file alone, for one transaction.

    Args:
        database: the DuckDB file; created when it does not exist, unless `read_only`.
        purpose: what the lease is for; others who wait are told.
        timeout_seconds: how long to wait. Who waits longest as a rule comes next; the others look again with jittered
            exponential backoff from 10 ms to 100 ms.
        read_only: open the file so that nothing can be written.

    Raises:
        LeaseTimeoutError: it stayed busy; the message says who holds it.
        DiskFullError: the disk is full, now or within the block.
        DamagedDatabaseError: it is no DuckDB file this version can read, as a whole or in a place that was read.
        PermanentError: it does not exist (read_only), or may not be written.
    """
    with _held(database, purpose, timeout_seconds, lambda: _attach(database, read_only=read_only)) as attached:
        try:
            yield attached.connection
        except BaseException:
            attached.is_sound = False
            raise


def standstill(
    database: Path, *, purpose: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> AbstractContextManager[IO[bytes]]:
    """Hold a database file alone without DuckDB, so that it can be replaced even when it is damaged or missing.

    Raises:
        LeaseTimeoutError: it stayed busy; the message says who holds it.
        PermanentError: it cannot be opened.
    """
    return _held(database, purpose, timeout_seconds, lambda: _lock_out(database))


@contextmanager
def _held(database: Path, purpose: str, timeout_seconds: float, open_file: Callable[[], Opened]) -> Iterator[Opened]:
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermanentError(f"the folder {database.parent} cannot be made: {error.strerror}") from error
    lock = FileLock(f"{database}.lock")
    # Whoever has this is the next one, so that nobody who takes lease after lease keeps the others waiting.
    turn = FileLock(f"{database}.turn.lock")
    holder = database.with_name(f"{database.name}.holder")
    began = time.monotonic()
    try:
        _waiting(timeout_seconds, LONGEST_PAUSE_SECONDS)(_lock, turn, database, holder)
        try:
            left_seconds = max(0.0, began + timeout_seconds - time.monotonic())
            opened = _waiting(left_seconds, NEXT_PAUSE_SECONDS)(_open, database, lock, holder, open_file)
        finally:
            turn.release()
    except RetryError as error:
        note_wait(time.monotonic() - began, timed_out=True)
        cause = error.last_attempt.exception()
        raise LeaseTimeoutError(f"waited {timeout_seconds:g} s to {purpose}: {cause}") from cause
    note_wait(time.monotonic() - began)
    try:
        with suppress(OSError):  # it is for those who wait; a full disk keeps nobody from reading
            holder.write_text(f"process {os.getpid()} since {dt.datetime.now(dt.UTC):%H:%M:%S} UTC, to {purpose}")
        with disk_errors(database), _damage(database), _interrupts():
            yield opened
    finally:
        opened.close()
        lock.release()


def _waiting(timeout_seconds: float, longest_pause_seconds: float) -> Retrying:
    return Retrying(
        stop=stop_after_delay(timeout_seconds),
        wait=wait_random_exponential(multiplier=0.01, max=longest_pause_seconds),
        retry=retry_if_exception_type(_BusyError),
    )


def _lock(lock: FileLock, database: Path, holder: Path) -> None:
    try:
        with disk_errors(Path(lock.lock_file)):
            lock.acquire(timeout=0)
    except Timeout as error:
        raise _BusyError(f"{database.name} is held by {_read_holder(holder)}") from error


def _open(database: Path, lock: FileLock, holder: Path, open_file: Callable[[], Opened]) -> Opened:
    _lock(lock, database, holder)
    try:
        return open_file()
    except BaseException:
        lock.release()
        raise


def _lock_out(database: Path) -> IO[bytes]:
    """Take the lock that DuckDB itself takes, so that no other program has the file open or opens it."""
    try:
        file = database.open("r+b")
    except FileNotFoundError:
        return io.BytesIO()  # nothing that another program could have open
    except OSError as error:
        raise PermanentError(f"{database} cannot be opened: {error.strerror}") from error
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise _BusyError(f"{database.name} is open in another program") from error
    return file


def _attach(database: Path, *, read_only: bool) -> _Attached:
    exists = database.exists() and database.stat().st_size > 0
    if read_only and not exists:
        raise PermanentError(f"there is no database at {database} yet; it is created when something is loaded")
    try:
        with disk_errors(database):
            if not exists:
                _create(database)
            return _attach_to(_instance(database), database, read_only=read_only)
    except duckdb.IOException as error:
        if "Could not set lock" in str(error):
            raise _BusyError(f"{database.name} is open elsewhere: {_first_line(error)}") from error
        raise _damaged(database, "opened", error) from error
    except duckdb.Error as error:
        raise _damaged(database, "opened", error) from error


def _attach_to(instance: duckdb.DuckDBPyConnection, database: Path, *, read_only: bool) -> _Attached:
    try:
        connection = _new_connection(instance)
        mode = " (READ_ONLY)" if read_only else ""
        connection.execute(f"ATTACH '{quoted(database)}' AS {_ALIAS}{mode}; USE {_ALIAS}")
    except BaseException:
        _end(instance)
        raise
    return _Attached(instance, connection)


def _instance(database: Path | None) -> duckdb.DuckDBPyConnection:
    """Return this process's DuckDB for a database file, or for none; a forked process needs one of its own."""
    key = os.getpid(), database
    if key not in _instances:
        if len(_instances) >= _MOST_INSTANCES:
            _instances.pop(next(iter(_instances)))
        config = {**_CONFIG, "temp_directory": f"{database}.tmp"} if database else _CONFIG
        _instances[key] = duckdb.connect(config=config)
    return _instances[key]


def _end(instance: duckdb.DuckDBPyConnection) -> None:
    for key in [key for key, known in _instances.items() if known is instance]:
        del _instances[key]
    instance.close()


def _new_connection(instance: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    connection = instance.cursor()
    # DuckDB 2 draws one on standard output for a query of two seconds, terminal or not.
    connection.execute("SET enable_progress_bar_print = false")
    return connection


@contextmanager
def _damage(database: Path) -> Iterator[None]:
    """Tell a file that turns out to be damaged while it is read from everything else DuckDB refuses."""
    try:
        yield
    except duckdb.Error as error:
        said = str(error)
        if _CORRUPT in said or (_CUT_OFF in said and str(database) in said):
            raise _damaged(database, "read", error) from error
        raise


def _damaged(database: Path, refused: str, error: duckdb.Error) -> DamagedDatabaseError:
    return DamagedDatabaseError(
        f"{database} cannot be {refused}: {_first_line(error)}; "
        "it was left as it is, and gex backup list shows what can be restored in its place"
    )


def _create(database: Path) -> None:
    """Make an empty database that appears whole, so that a kill leaves none that cannot be opened."""
    beside = database.with_name(f".{database.name}.new")
    beside.unlink(missing_ok=True)
    connection = _new_connection(_instance(database))
    try:
        connection.execute(f"ATTACH '{quoted(beside)}' AS created (STORAGE_VERSION '{NEW_FILE_STORAGE_VERSION}')")
        connection.execute("DETACH created")
    finally:
        connection.close()
    beside.chmod(0o600)  # open requests keep their signed links in it
    sync(beside)
    beside.replace(database)
    sync(database.parent)


def _read_holder(holder: Path) -> str:
    try:
        return holder.read_text()
    except OSError:
        return "another process"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def fold_log_in(database: Path, lease_timeout_seconds: float) -> None:
    """Write what is still in the write-ahead log into the database file."""
    with lease(database, purpose="write its log into it", timeout_seconds=lease_timeout_seconds) as connection:
        connection.execute("CHECKPOINT")


def log_path(database: Path) -> Path:
    """Return where DuckDB keeps a database's write-ahead log."""
    real = database.resolve()
    return real.with_name(f"{real.name}.wal")


def has_log(database: Path) -> bool:
    """Tell whether commits are in the write-ahead log that are not in the database file."""
    log = log_path(database)
    return log.exists() and log.stat().st_size > 0


def committed_state(database: Path) -> tuple[Version, bytes] | None:
    """Return what every commit changes of a database that nobody has open to write; None when it cannot be told.

    A commit is in the write-ahead log until a checkpoint counts the file's header on.
    """
    if has_log(database):
        return None
    with database.open("rb") as file:
        return version_of(file), file.read(_HEADER_BYTES)


@contextmanager
def in_memory() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection without a database file, to query Parquet."""
    connection = _new_connection(_instance(None))
    try:
        with _interrupts():
            yield connection
    finally:
        connection.close()


@contextmanager
def _interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt again where DuckDB, stopped in a query, makes an ordinary error of it."""
    try:
        yield
    except RuntimeError as error:
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from error
        raise


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit what the block did, or roll all of it back."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        with suppress(duckdb.Error):  # a failed write ended it already; closing gives up what is left of it
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def fetch_row(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[object] = ()
) -> tuple[Any, ...] | None:
    """Return the first row of a query, None when there is none, and leave the connection free for the next one."""
    rows = connection.execute(sql, list(parameters)).fetchall()
    return rows[0] if rows else None


def quoted(path: Path) -> str:
    """Return a path as it stands between single quotes in SQL."""
    return str(path).replace("'", "''")
