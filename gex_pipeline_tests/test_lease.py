"""Leases between real processes, and transactions."""

from __future__ import annotations  # evaluated, they would keep DuckDB types alive

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gex_pipeline.errors import GexError, LeaseTimeoutError, PermanentError
from gex_pipeline.storage.lease import lease, transaction
from gex_pipeline.storage.schema import ensure_schema
from gex_pipeline_tests.processes import child, rows

HOLD_LEASE = """
from pathlib import Path
from gex_pipeline.storage.lease import lease
with lease(Path(sys.argv[1]), purpose="hold it for a test") as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS held AS SELECT 1 AS x")
    print("ready", flush=True)
    sys.stdin.readline()
    connection.execute("INSERT INTO held VALUES (2)")
"""
HOLD_DUCKDB = """
import duckdb
connection = duckdb.connect(sys.argv[1])
print("ready", flush=True)
time.sleep(float(sys.argv[2]))
connection.close()
time.sleep(60)
"""


def refusal(path: Path, error: type[GexError] = LeaseTimeoutError, **terms: Any) -> str:
    """What somebody who wants the lease is told when they do not get it."""
    with pytest.raises(error) as refused, lease(path, purpose="load captures", **terms):
        pass
    return str(refused.value)


TAKE_LEASE_AFTER_LEASE = """
from pathlib import Path
from gex_pipeline.storage.lease import lease
print("ready", flush=True)
while True:
    with lease(Path(sys.argv[1]), purpose="take one after another"), open(sys.argv[2], "a") as taken:
        taken.write("x")
        time.sleep(0.1)
"""


# Leases


def test_nothing_of_a_lease_but_what_it_wrote_is_there_in_the_next(path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), lease(path, purpose="fail") as connection:
        connection.execute("CREATE TEMP TABLE seen AS SELECT 1 AS x; SET threads = 1")
        connection.execute("BEGIN; CREATE TABLE begun AS SELECT 1 AS x")
        _ = 1 / 0
    with lease(path, purpose="look") as connection:
        assert connection.execute("SELECT table_name FROM duckdb_tables()").fetchall() == []
        assert connection.execute("SELECT current_setting('threads')").fetchall() != [(1,)]


def test_what_a_lease_wrote_is_there_for_the_next(path: Path) -> None:
    with lease(path, purpose="write") as connection:
        connection.execute("CREATE TABLE t AS SELECT 42 AS x")
    assert rows(path, "FROM t") == [(42,)]


def test_only_one_process_at_a_time_has_the_lease_and_the_other_is_told_who(path: Path) -> None:
    with child(HOLD_LEASE, path) as holder:
        started = time.monotonic()
        message = refusal(path, timeout_seconds=0.3)
        assert 0.3 <= time.monotonic() - started < 3
    assert message.startswith("waited 0.3 s to load captures: gex_data.db is held by ")
    assert f"process {holder.pid} since " in message
    assert message.endswith("to hold it for a test")


def test_a_lease_is_exclusive_within_a_process_too(path: Path) -> None:
    with lease(path, purpose="hold it"):
        for read_only in (False, True):
            assert f"process {os.getpid()} since " in refusal(path, timeout_seconds=0.05, read_only=read_only)


def test_who_takes_lease_after_lease_lets_others_in_between(path: Path) -> None:
    taken = path.with_name("taken")
    taken.touch()
    with child(TAKE_LEASE_AFTER_LEASE, path, taken):
        for _ in range(10):
            before = taken.stat().st_size
            with lease(path, purpose="be let in"):
                assert taken.stat().st_size - before <= 2


def test_who_waits_gets_the_lease_when_it_is_released(path: Path) -> None:
    with child(HOLD_LEASE, path) as holder, contextlib.ExitStack() as stack:
        assert holder.stdin is not None
        refusal(path, timeout_seconds=0.1)
        holder.stdin.write("go on\n")
        holder.stdin.flush()
        connection = stack.enter_context(lease(path, purpose="look", timeout_seconds=10))
        assert connection.execute("FROM held ORDER BY x").fetchall() == [(1,), (2,)]


def test_a_killed_holder_leaves_the_lease_free_and_the_file_usable(path: Path) -> None:
    with child(HOLD_LEASE, path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert rows(path, "FROM held") == [(1,)]


def test_an_error_inside_a_lease_releases_it(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lease(path, purpose="fail"):
        raise ZeroDivisionError
    with lease(path, purpose="try again", timeout_seconds=0.1):
        pass


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_somebody_else_opened_with_duckdb_is_named_with_its_process(path: Path, read_only: bool) -> None:
    with child(HOLD_DUCKDB, path, 60) as other:
        message = refusal(path, timeout_seconds=0.2, read_only=read_only)
    assert message.startswith("waited 0.2 s to load captures: gex_data.db is open elsewhere: ")
    assert f"PID {other.pid}" in message
    assert "\n" not in message


def test_a_file_that_somebody_else_opened_with_duckdb_is_waited_for(path: Path) -> None:
    with child(HOLD_DUCKDB, path, 0.4):
        started = time.monotonic()
        with lease(path, purpose="load", timeout_seconds=10) as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]
        assert time.monotonic() - started > 0.2


def test_a_new_file_can_be_opened_by_older_tools(path: Path) -> None:
    with lease(path, purpose="create") as connection:
        ensure_schema(connection)
        (tags,) = connection.execute("SELECT tags FROM duckdb_databases() WHERE NOT internal").fetchall()[0]
    assert tags["storage_version"].startswith("v1.3.0")


def test_an_existing_file_keeps_its_storage_version(path: Path) -> None:
    with duckdb.connect(path, config={"storage_compatibility_version": "v1.0.0"}) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS x")
    for _ in range(2):
        with lease(path, purpose="write") as connection:
            connection.execute("INSERT INTO t VALUES (2)")
            (tags,) = connection.execute("SELECT tags FROM duckdb_databases() WHERE NOT internal").fetchall()[0]
            assert tags["storage_version"].startswith("v1.0.0")


def test_a_read_only_lease_of_a_missing_file_is_refused_and_creates_none(path: Path) -> None:
    with pytest.raises(PermanentError, match="there is no database at"):
        rows(path, "SELECT 1")
    assert not path.exists()


def test_a_read_only_lease_cannot_write(path: Path) -> None:
    with lease(path, purpose="create"):
        pass
    with pytest.raises(duckdb.InvalidInputException, match="read-only"):
        rows(path, "CREATE TABLE t (x INTEGER)")


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("content", [b"x", b"garbage" * 5000, "damaged", "short"])
def test_what_is_no_database_is_refused_at_once_in_one_line_and_left_as_it_is(
    path: Path, content: bytes | str, read_only: bool
) -> None:
    if isinstance(content, str):
        with lease(path, purpose="create") as connection:
            connection.execute("CREATE TABLE t AS FROM range(10000)")
        whole = path.read_bytes()
        content = whole[:5000] if content == "short" else whole[:100] + b"xxxx" + whole[104:]
    path.write_bytes(content)
    started = time.monotonic()
    message = refusal(path, PermanentError, timeout_seconds=5, read_only=read_only)
    assert "gex_data.db cannot be opened: " in message
    assert "\n" not in message
    assert time.monotonic() - started < 2
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.write_bytes(b"")
    with lease(path, purpose="create") as connection:
        connection.execute("CREATE TABLE t (x INTEGER)")
    assert rows(path, "SELECT count(*) FROM t") == [(0,)]
    assert not list(path.parent.glob(".*.new"))


# Transactions


def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    with lease(path, purpose="create") as connection:
        connection.execute("CREATE TABLE t (x INTEGER)")

    def insert_one(then: type[BaseException] | None = None) -> None:
        with transaction(connection):
            connection.execute("INSERT INTO t VALUES (1)")
            if then is not None:
                raise then

    with lease(path, purpose="fail and succeed") as connection:
        for error in (ValueError, KeyboardInterrupt):
            with pytest.raises(error):
                insert_one(then=error)
            assert connection.execute("FROM t").fetchall() == []
        insert_one()
    assert rows(path, "FROM t") == [(1,)]


def test_a_process_killed_inside_a_transaction_leaves_nothing_of_it(path: Path) -> None:
    code = """
from pathlib import Path
from gex_pipeline.storage.lease import lease, transaction
with lease(Path(sys.argv[1]), purpose="die") as connection:
    connection.execute("CREATE TABLE t (x INTEGER)")
    with transaction(connection):
        connection.execute("INSERT INTO t FROM range(100000)")
        print("ready", flush=True)
        time.sleep(60)
"""
    with child(code, path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert rows(path, "FROM t") == []


SLOW_QUERY = """
from pathlib import Path
from gex_pipeline.storage.lease import in_memory, lease
print("ready", flush=True)
with in_memory() if sys.argv[2] == "memory" else lease(Path(sys.argv[1]), purpose="count") as connection:
    connection.execute("SET progress_bar_time = 1")
    connection.execute("SELECT max(hash(range)) FROM range(100000000)").fetchall()
"""


@pytest.mark.parametrize("where", ["file", "memory"])
def test_a_slow_query_draws_nothing_on_standard_output(path: Path, where: str) -> None:
    with child(SLOW_QUERY, path, where) as process:
        assert process.stdout is not None
        assert process.stdout.read() == ""
        assert process.wait() == 0


INTERRUPTED = """
from pathlib import Path
from gex_pipeline.storage.lease import in_memory, lease, transaction
path = Path(sys.argv[1])
with lease(path, purpose="prepare") as connection:
    connection.execute("CREATE TABLE numbers (n BIGINT)")
print("ready", flush=True)
try:
    with lease(path, purpose="count") as connection, transaction(connection):
        connection.execute("SET threads = 1")  # where another thread does the work, DuckDB does not look for signals
        connection.execute("INSERT INTO numbers SELECT range FROM range(10_000_000_000)")
except KeyboardInterrupt:
    print("interrupted", flush=True)
try:
    with in_memory() as connection:
        connection.execute("SET threads = 1")
        connection.execute("SELECT count(*) FROM range(10_000_000_000) WHERE hash(range) = 1").fetchall()
except KeyboardInterrupt:
    print("interrupted again", flush=True)
"""


def test_an_interrupt_in_a_query_is_an_interrupt_and_leaves_nothing_of_it(path: Path) -> None:
    with child(INTERRUPTED, path) as process:
        assert process.stdout is not None
        for said in ("interrupted\n", "interrupted again\n"):
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == said
        assert process.wait(10) == 0
    assert rows(path, "SELECT count(*) FROM numbers") == [(0,)]
