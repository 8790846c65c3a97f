"""Storage: leases between real processes, adopted files, keyed inserts, whole files, the request queue."""

from __future__ import annotations  # evaluated, they would keep DuckDB types alive, and it complains of that at exit

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import GexError, LeaseTimeoutError, PermanentError
from gex_pipeline.feeds import Feed, request_id
from gex_pipeline.formats.columns import SnapshotColumns
from gex_pipeline.formats.gexbot import parse_snapshot
from gex_pipeline.formats.option_trades import trades, trades_table
from gex_pipeline.formats.unusual_whales import parse_message
from gex_pipeline.storage import request_queue
from gex_pipeline.storage.files import keep_aside, publish, sha256_of, write_whole
from gex_pipeline.storage.lease import lease, transaction
from gex_pipeline.storage.lineage import (
    EarlierImport,
    ImportCounts,
    add_to_segment,
    find_import,
    next_import_id,
    record_import,
    segment_import_id,
)
from gex_pipeline.storage.quarantine import (
    BadRecord,
    history_quarantine_path,
    live_quarantine_path,
    write_quarantine,
)
from gex_pipeline.storage.request_queue import Request
from gex_pipeline.storage.schema import TABLES, column_type, ensure_schema, has_table
from gex_pipeline.storage.snapshots import SNAPSHOT_COLUMNS, STRIKE_COLUMNS, day_rows_sql, insert_new, rows_sql

ZERO, ONE = Feed("SPX", "gex_zero"), Feed("SPX", "gex_one")
DAY = dt.date(2026, 4, 29)
TIME = 1777492800
TIME_MS = TIME * 1000

Row = tuple[Any, ...]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gex_data.db"


@contextlib.contextmanager
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


def rows(path: Path, sql: str) -> list[Row]:
    with lease(path, purpose="look", timeout_seconds=5, read_only=True) as connection:
        return connection.execute(sql).fetchall()


# Leases


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
    assert tags["storage_version"].startswith("v1.2.0")


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


# The tables

LEGACY = """
CREATE TABLE gex_snapshots(timestamp BIGINT, ticker VARCHAR, spot_price DOUBLE, zero_gamma DOUBLE, net_gex DOUBLE,
    min_dte INTEGER, sec_min_dte INTEGER, major_pos_vol DOUBLE, major_pos_oi DOUBLE, major_neg_vol DOUBLE,
    major_neg_oi DOUBLE, sum_gex_vol DOUBLE, sum_gex_oi DOUBLE, delta_risk_reversal DOUBLE, max_priors VARCHAR,
    note VARCHAR);
CREATE TABLE gex_strikes(timestamp BIGINT, ticker VARCHAR, strike DOUBLE, gamma DOUBLE, oi_gamma DOUBLE,
    priors VARCHAR, note VARCHAR);
INSERT INTO gex_snapshots VALUES
    (1777492800000, 'SPX', 7138.55, 7112.95, NULL, 0, 1, 7135, 7200, 7100, 6900, 1712585.519, 51521.105, 0.118,
        '[[7140, 170979.742]]', 'mine'),
    (1777492801000, 'NQ_NDX', 25197.21, 0, -1.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO gex_strikes VALUES
    (1777492800000, 'SPX', 6890, -228.01, -86.9, '[-240.55, -243.15, null, -221.27, -220.12]', 'mine'),
    (1777492800000, 'SPX', 6895, -48.47, NULL, '[]', NULL),
    (1777492800000, 'SPX', 6900, 0, 0, NULL, NULL);
"""
LEGACY_SOURCE = {
    "timestamp": TIME, "spot": 7138.55, "zero_gamma": 7112.95, "min_dte": 0, "sec_min_dte": 1, "major_pos_vol": 7135,
    "major_pos_oi": 7200, "major_neg_vol": 7100, "major_neg_oi": 6900, "sum_gex_vol": 1712585.519,
    "sum_gex_oi": 51521.105, "delta_risk_reversal": 0.118, "max_priors": [[7140, 170979.742]],
    "strikes": [
        [6890, -228.01, -86.9, [-240.55, -243.15, None, -221.27, -220.12]], [6895, -48.47, None, []], [6900, 0, 0],
    ],
}  # fmt: skip


@pytest.fixture
def legacy(path: Path) -> Path:
    """A user's file from before this system: none of our columns, priors as text, and a column of their own."""
    with duckdb.connect(path) as connection:
        connection.execute(LEGACY)
    return path


def columns(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    found = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [table]
    ).fetchall()
    return dict(found)


def test_a_new_file_gets_every_table_with_its_columns_in_order(path: Path) -> None:
    with lease(path, purpose="create") as connection:
        assert len(ensure_schema(connection)) == len(TABLES)
        for table, declared in TABLES.items():
            types = {name: kind.partition(" DEFAULT")[0].replace(", ", ",") for name, kind in declared.items()}
            assert columns(connection, table) == types
            assert has_table(connection, table)
        assert not has_table(connection, "another_table")
        assert column_type(connection, "gex_strikes", "priors") == "DOUBLE[]"


def test_a_second_look_at_the_schema_does_nothing(path: Path) -> None:
    with lease(path, purpose="create") as connection:
        ensure_schema(connection)
    with lease(path, purpose="look", read_only=True) as connection:
        assert ensure_schema(connection) == []


def test_a_legacy_file_is_adopted_with_its_rows_its_types_and_its_own_columns(legacy: Path) -> None:
    before = {table: rows(legacy, f"FROM {table}") for table in ("gex_snapshots", "gex_strikes")}
    with lease(legacy, purpose="look") as connection:
        types = {table: columns(connection, table) for table in before}
        statements = ensure_schema(connection)
        assert all(statement.startswith(("ALTER TABLE gex_", "CREATE TABLE ")) for statement in statements)
        for table, kept in types.items():
            now = columns(connection, table)
            assert list(now.items())[: len(kept)] == list(kept.items())
            assert now.keys() == kept.keys() | TABLES[table].keys()
            assert connection.execute(f"SELECT {', '.join(kept)} FROM {table}").fetchall() == before[table]  # noqa: S608
            added = f"SELECT DISTINCT endpoint, source, import_id FROM {table}"  # noqa: S608
            assert connection.execute(added).fetchall() == [("gex_zero", None, None)]
        assert column_type(connection, "gex_strikes", "priors") == "VARCHAR"
    with lease(legacy, purpose="look again", read_only=True) as connection:
        assert ensure_schema(connection) == []


def test_a_file_with_some_of_the_tables_gets_the_others(path: Path) -> None:
    with lease(path, purpose="create") as connection:
        ensure_schema(connection)
        connection.execute("DROP TABLE data_lineage")
        connection.execute("ALTER TABLE gex_strikes DROP COLUMN vanna")
        assert [statement.split("(")[0] for statement in ensure_schema(connection)] == [
            "ALTER TABLE gex_strikes ADD COLUMN vanna DOUBLE",
            "CREATE TABLE data_lineage ",
        ]


def test_an_adoption_that_fails_changes_nothing(legacy: Path) -> None:
    with lease(legacy, purpose="prepare") as connection:
        connection.execute("CREATE VIEW loader_position AS SELECT 1 AS x")
        before = {table: columns(connection, table) for table in ("gex_snapshots", "gex_strikes")}
        with pytest.raises(duckdb.Error):
            ensure_schema(connection)
        assert {table: columns(connection, table) for table in before} == before
        assert not has_table(connection, "data_lineage")


# Inserting


@pytest.fixture
def database(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with lease(path, purpose="test") as connection:
        ensure_schema(connection)
        yield connection


@pytest.fixture
def adopted(legacy: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with lease(legacy, purpose="test") as connection:
        ensure_schema(connection)
        yield connection


@pytest.fixture(params=["database", "adopted"])
def either(request: pytest.FixtureRequest) -> duckdb.DuckDBPyConnection:
    """A new file and an adopted one in turn."""
    connection: duckdb.DuckDBPyConnection = request.getfixturevalue(request.param)
    connection.execute("DELETE FROM gex_snapshots")
    connection.execute("DELETE FROM gex_strikes")
    return connection


def insert(
    connection: duckdb.DuckDBPyConnection,
    *sources: dict[str, Any],
    feed: Feed = ZERO,
    source: str = "live",
    import_id: int = 1,
) -> ImportCounts:
    batch = SnapshotColumns()
    for record in sources:
        batch.append(parse_snapshot(json.dumps(record).encode()), feed)
    snapshots, strikes = batch.tables()
    connection.register("offered_snapshots", snapshots)
    connection.register("offered_strikes", strikes)
    with transaction(connection):
        return insert_new(connection, "offered_snapshots", "offered_strikes", source=source, import_id=import_id)


def stored(connection: duckdb.DuckDBPyConnection) -> tuple[list[Row], list[Row]]:
    """All snapshots and strikes as they read back, with source and import id."""
    found = [
        connection.execute(f"{rows_sql(connection, table, (*names, 'source', 'import_id'))} ORDER BY ALL").fetchall()
        for table, names in (("gex_snapshots", SNAPSHOT_COLUMNS), ("gex_strikes", STRIKE_COLUMNS))
    ]
    return found[0], found[1]


def snapshot(second: int = 0, **changes: Any) -> dict[str, Any]:
    strikes = [[6890, -228.01, 0.1 + 0.2, [1e-7, None, 1e300, -5e-324, 5]], [6895, 1, None, []], [6900.25, 1]]
    return {"timestamp": TIME + second, "spot": 7138.55, "strikes": strikes, "new": 1.5} | changes


def test_snapshots_and_strikes_read_back_value_for_value(either: duckdb.DuckDBPyConnection) -> None:
    counts = insert(either, snapshot(vanna=1), source="history", import_id=7)
    assert counts == ImportCounts(snapshots=1, strikes=3, present=0, differing=0)
    snapshots, strikes = stored(either)
    assert [dict(zip(SNAPSHOT_COLUMNS, row, strict=False)) for row in snapshots] == [
        dict.fromkeys(SNAPSHOT_COLUMNS)
        | {"timestamp": TIME_MS, "ticker": "SPX", "endpoint": "gex_zero", "spot_price": 7138.55}
        | {"extra": '{"new":1.5,"vanna":1}'}
    ]
    key = (TIME_MS, "SPX", "gex_zero")
    assert strikes == [
        (*key, 6890, -228.01, 0.1 + 0.2, None, [1e-7, None, 1e300, -5e-324, 5], "history", 7),
        (*key, 6895, 1, None, None, [], "history", 7),
        (*key, 6900.25, 1, None, None, None, "history", 7),
    ]
    assert snapshots[0][-2:] == ("history", 7)


def test_the_same_rows_again_are_present_and_change_nothing(either: duckdb.DuckDBPyConnection) -> None:
    sources = [snapshot(second) for second in range(3)]
    insert(either, *sources)
    before = stored(either)
    again = insert(either, *reversed(sources), snapshot(3), source="history", import_id=2)
    assert again == ImportCounts(snapshots=1, strikes=3, present=3, differing=0)
    snapshots, strikes = stored(either)
    assert (snapshots[:3], strikes[:9]) == before
    assert {row[-2:] for row in snapshots[3:] + strikes[9:]} == {("history", 2)}


@pytest.mark.parametrize(
    "change",
    [
        {"spot": 7138.56},
        {"zero_gamma": 0},
        {"min_dte": 1},
        {"max_priors": [[1, 2]]},
        {"new": 2},
        {"strikes": [[6890, -228.01, 0.1 + 0.2, [1e-7, None, 1e300, -5e-324, 6]], [6895, 1, None, []], [6900.25, 1]]},
        {"strikes": [[6890, -228.01, 0.1 + 0.2, [1e-7, None, 1e300, -5e-324]], [6895, 1, None, []], [6900.25, 1]]},
        {"strikes": [[6890, -228.01, 0.1 + 0.2, [None, 1e-7, 1e300, -5e-324, 5]], [6895, 1, None, []], [6900.25, 1]]},
        {"strikes": [[6890, -228.01, 0.1 + 0.2, [1e-7, None, 1e300, -5e-324, 5]], [6895, None, 1, []], [6900.25, 1]]},
        {"strikes": [[6890, -228.02, 0.1 + 0.2, [1e-7, None, 1e300, -5e-324, 5]], [6895, 1, None, []], [6900.25, 1]]},
        {"strikes": [[6890, -228.01, 0.1 + 0.2, [1e-7, None, 1e300, -5e-324, 5]], [6895, 1, None, []]]},
        {"strikes": []},
        {"strikes": [*snapshot()["strikes"], [6905, 1]]},
        {"strikes": [*snapshot()["strikes"], [6900.25, 1]]},
    ],
)
def test_a_later_differing_observation_is_counted_and_the_first_stays(
    either: duckdb.DuckDBPyConnection, change: dict[str, Any]
) -> None:
    insert(either, snapshot(0), snapshot(1))
    before = stored(either)
    counts = insert(either, snapshot(0) | change, snapshot(1), snapshot(2), import_id=2)
    assert counts == ImportCounts(snapshots=1, strikes=3, present=2, differing=1)
    snapshots, strikes = stored(either)
    assert (snapshots[:2], strikes[:6]) == before


def test_a_ladder_is_never_put_under_an_observation_that_had_none(either: duckdb.DuckDBPyConnection) -> None:
    insert(either, snapshot(strikes=[]))
    assert insert(either, snapshot()) == ImportCounts(snapshots=0, strikes=0, present=1, differing=1)
    assert stored(either)[1] == []


def test_the_order_of_the_strikes_is_no_difference(either: duckdb.DuckDBPyConnection) -> None:
    insert(either, snapshot())
    assert insert(either, snapshot(strikes=snapshot()["strikes"][::-1])) == ImportCounts(0, 0, 1, 0)


def test_another_feed_at_the_same_time_is_neither_present_nor_touched(either: duckdb.DuckDBPyConnection) -> None:
    insert(either, snapshot())
    before = stored(either)
    for import_id, feed in enumerate((ONE, Feed("NDX", "gex_zero")), 2):
        counts = insert(either, snapshot(spot=1, strikes=[[1, 2]]), feed=feed, import_id=import_id)
        assert counts == ImportCounts(1, 1, 0, 0)
        assert insert(either, snapshot(spot=1, strikes=[[1, 2]]), feed=feed) == ImportCounts(0, 0, 1, 0)
    snapshots, strikes = stored(either)
    assert ([row for row in snapshots if row[-1] == 1], [row for row in strikes if row[-1] == 1]) == before
    assert (len(snapshots), len(strikes)) == (3, 5)


def test_snapshots_without_strikes_and_nothing_at_all_are_inserted(either: duckdb.DuckDBPyConnection) -> None:
    assert insert(either) == ImportCounts(0, 0, 0, 0)
    bare = {"timestamp": TIME, "spot": 1}
    assert insert(either, bare) == ImportCounts(1, 0, 0, 0)
    assert insert(either, bare) == ImportCounts(0, 0, 1, 0)
    assert insert(either, bare | {"spot": 2}) == ImportCounts(0, 0, 1, 1)


def test_the_rows_of_a_legacy_file_are_the_first_observation(adopted: duckdb.DuckDBPyConnection) -> None:
    before = stored(adopted)
    assert insert(adopted, LEGACY_SOURCE) == ImportCounts(0, 0, 1, 0)
    assert insert(adopted, LEGACY_SOURCE | {"spot": 1}) == ImportCounts(0, 0, 1, 1)
    assert insert(adopted, LEGACY_SOURCE | {"strikes": [[6890, 1]]}) == ImportCounts(0, 0, 1, 1)
    assert stored(adopted) == before
    assert insert(adopted, LEGACY_SOURCE, feed=ONE) == ImportCounts(1, 3, 0, 0)


def test_a_legacy_row_whose_endpoint_is_null_is_gex_zero(adopted: duckdb.DuckDBPyConnection) -> None:
    for table in ("gex_snapshots", "gex_strikes"):
        adopted.execute(f"UPDATE {table} SET endpoint = NULL")  # noqa: S608
    assert {row[2] for found in stored(adopted) for row in found} == {"gex_zero"}
    assert insert(adopted, LEGACY_SOURCE) == ImportCounts(0, 0, 1, 0)


def test_new_priors_in_a_legacy_file_are_the_same_kind_of_text(adopted: duckdb.DuckDBPyConnection) -> None:
    insert(adopted, snapshot(10))
    priors = adopted.execute(
        "SELECT priors FROM gex_strikes WHERE timestamp > ? ORDER BY strike", [TIME_MS]
    ).fetchall()
    assert [None if text is None else json.loads(text) for (text,) in priors] == [
        [1e-7, None, 1e300, -5e-324, 5],
        [],
        None,
    ]


def test_option_trades_read_back_value_for_value(database: duckdb.DuckDBPyConnection) -> None:
    sent = {
        "id": "1", "executed_at": 1777492800412, "option_chain_id": "SPXW260429P06512500", "price": "0.10",
        "size": 3, "rho": "0.000002508438316242667", "tags": ["etf"], "canceled": False,
    }  # fmt: skip
    message = parse_message(json.dumps(["option_trades:SPX", sent]).encode())
    database.register("offered_trades", trades_table([(7, message.topic, trade) for trade in trades(message)]))
    database.execute("INSERT INTO option_trades_events BY NAME FROM offered_trades")
    assert database.execute(
        "SELECT received_at, topic, id, executed_at, expiry, strike, price, size, rho, tags, report_flags, "
        "canceled, delta FROM option_trades_events"
    ).fetchall() == [
        (
            7, "option_trades:SPX", "1", 1777492800412, DAY, Decimal("6512.5"), Decimal("0.1"), 3,
            2.508438316242667e-06, ["etf"], [], False, None,
        )
    ]  # fmt: skip
    assert column_type(database, "option_trades_events", "rho") == "DOUBLE"


def test_one_feeds_rows_of_one_day_are_selected_with_both_ends(adopted: duckdb.DuckDBPyConnection) -> None:
    for feed in (ZERO, ONE, Feed("NDX", "gex_zero")):
        insert(adopted, *(snapshot(second, strikes=[[1, second]]) for second in range(10, 15)), feed=feed)
    for table, names in (("gex_snapshots", SNAPSHOT_COLUMNS), ("gex_strikes", STRIKE_COLUMNS)):
        sql = day_rows_sql(adopted, table, names, ZERO, TIME_MS + 11_000, TIME_MS + 13_000)
        found = adopted.execute(f"{sql} ORDER BY timestamp").fetchall()
        assert [row[:3] for row in found] == [(TIME_MS + ms, "SPX", "gex_zero") for ms in (11_000, 12_000, 13_000)]
        adopted.execute(f"UPDATE {table} SET endpoint = NULL WHERE endpoint = 'gex_zero'")  # noqa: S608
        assert adopted.execute(f"{sql} ORDER BY timestamp").fetchall() == found


def test_an_insert_that_is_rolled_back_leaves_nothing(database: duckdb.DuckDBPyConnection) -> None:
    def fail() -> None:
        with transaction(database):
            insert_new(database, "offered_snapshots", "offered_strikes", source="live", import_id=1)
            raise ZeroDivisionError

    insert(database, snapshot(0))
    insert(database, snapshot(0), snapshot(1), feed=ONE)
    database.execute("DELETE FROM gex_snapshots WHERE endpoint = 'gex_one'")
    database.execute("DELETE FROM gex_strikes WHERE endpoint = 'gex_one'")
    before = stored(database)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert stored(database) == before


# Lineage


def test_an_import_is_found_by_its_bytes_and_its_partition_only(database: duckdb.DuckDBPyConnection) -> None:
    def record(import_id: int, **changes: Any) -> None:
        line: dict[str, Any] = {
            "import_id": import_id, "source_file": "a.json", "sha256": "abc", "feed": ZERO, "date": DAY,
            "counts": ImportCounts(5, 50, 2, 1), "status": "imported", "run_id": "run",
        }  # fmt: skip
        record_import(database, **(line | changes))

    before_ms = epoch_ms()
    assert find_import(database, ZERO, DAY, "abc") is None
    record(1, status="unchanged")
    record(2, status="failed")
    record(3, sha256="other")
    record(4, feed=ONE)
    record(5, feed=Feed("NDX", "gex_zero"))
    record(6, date=DAY + dt.timedelta(days=1))
    assert find_import(database, ZERO, DAY, "abc") is None
    record(7, run_id=None)
    record(8)
    found = find_import(database, ZERO, DAY, "abc")
    assert found is not None
    assert found == EarlierImport(7, 5, found.import_timestamp_ms)
    assert before_ms <= found.import_timestamp_ms <= epoch_ms()
    line = database.execute(
        "SELECT * REPLACE (0 AS import_timestamp) FROM data_lineage WHERE import_id = 7"
    ).fetchall()
    assert line == [
        (7, "a.json", "abc", "history", "SPX", "gex_zero", DAY, 5, 50, 2, 1, 0, "imported", None, None),
    ]


def test_import_ids_count_on_from_the_highest(database: duckdb.DuckDBPyConnection) -> None:
    assert next_import_id(database) == 1
    first = segment_import_id(database, "journal-a", 1)
    assert (first, next_import_id(database)) == (1, 2)


def test_a_journal_segment_has_one_line_that_its_batches_add_to(database: duckdb.DuckDBPyConnection) -> None:
    first = segment_import_id(database, "a", 1)
    assert segment_import_id(database, "a", 1) == first
    second, other = segment_import_id(database, "a", 2), segment_import_id(database, "b", 1)
    assert len({first, second, other}) == 3
    add_to_segment(database, first, ImportCounts(1, 2, 3, 4))
    add_to_segment(database, first, ImportCounts(10, 20, 30, 40))
    lines = database.execute(
        "SELECT import_id, records_imported, strikes_imported, records_present, records_differing FROM data_lineage "
        "ORDER BY import_id"
    ).fetchall()
    assert lines == [
        (first, 11, 22, 33, 44),
        (second, 0, 0, 0, 0),
        (other, 0, 0, 0, 0),
    ]


# Files that appear whole


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_published_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "day.parquet"
    with publish(target) as temporary:
        temporary.write_bytes(b"half")
        assert not target.exists()
        assert temporary.parent == target.parent
        with temporary.open("ab") as file:
            file.write(b" whole")
    assert target.read_bytes() == b"half whole"
    assert names(target.parent) == ["day.parquet"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_while_publishing_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "day.parquet"

    def fail() -> None:
        with publish(target) as temporary:
            temporary.write_bytes(b"half")
            raise error

    for content in (None, b"old"):
        if content is not None:
            write_whole(target, content)
        with pytest.raises(error):
            fail()
        assert names(tmp_path) == ([] if content is None else ["day.parquet"])
    assert target.read_bytes() == b"old"


def test_a_file_is_durable_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, synced = tmp_path / "day.parquet", []

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, target.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(target, b"content")
    assert synced == [(target.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


PUBLISH_SLOWLY = """
from pathlib import Path
from gex_pipeline.storage.files import publish
with publish(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_process_killed_while_publishing_leaves_no_half_file_and_its_leftover_goes_next_time(
    tmp_path: Path, old: bytes | None
) -> None:
    target = tmp_path / "day.parquet"
    if old is not None:
        write_whole(target, old)
    with child(PUBLISH_SLOWLY, target) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = [] if old is None else ["day.parquet"]
    assert names(tmp_path) == [f".day.parquet.{process.pid}.tmp", *kept]
    assert old is None or target.read_bytes() == old
    write_whole(target, b"whole")
    assert (names(tmp_path), target.read_bytes()) == (["day.parquet"], b"whole")


def test_what_a_running_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "day.parquet"
    with child(PUBLISH_SLOWLY, target) as process:
        for name in ("day.parquet", "another.parquet"):
            write_whole(tmp_path / name, b"whole")
        assert f".day.parquet.{process.pid}.tmp" in names(tmp_path)
    assert process.wait() != 0
    write_whole(tmp_path / "another.parquet", b"whole")
    assert f".day.parquet.{process.pid}.tmp" in names(tmp_path)


def test_a_replaced_file_is_kept_under_its_path_and_checksum(tmp_path: Path) -> None:
    root, backups = tmp_path / "parquet", tmp_path / "backups"
    target = root / "gexbot" / "SPX" / "day.parquet"
    assert keep_aside(target, root=root, backups_dir=backups) is None
    assert not backups.exists()
    kept = []
    for content in (b"first", b"second", b"first"):
        write_whole(target, content)
        found = keep_aside(target, root=root, backups_dir=backups)
        assert found is not None
        assert found == backups / "gexbot" / "SPX" / f"day.parquet.{sha256_of(target)[:12]}"
        assert found.read_bytes() == target.read_bytes() == content
        kept.append(found)
    assert kept[0] == kept[2] != kept[1]
    assert len(names(backups / "gexbot" / "SPX")) == 2


def test_a_checksum_is_the_sha_256_of_the_bytes(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"abc")
    assert sha256_of(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# Quarantine


def test_bad_records_are_kept_as_they_came_with_the_reason(tmp_path: Path) -> None:
    target = tmp_path / "quarantine" / "bad.jsonl"
    write_quarantine(
        target,
        [
            BadRecord(17, "spot: got NaN, expected a finite number", b'{"spot":NaN,\n"note":"caf\xc3\xa9"}'),
            BadRecord(99, 'ticker: got "x"', b"\xff\x00{"),
        ],
    )
    assert [json.loads(line) for line in target.read_text().splitlines()] == [
        {
            "position": 17,
            "reason": "spot: got NaN, expected a finite number",
            "record": '{"spot":NaN,\n"note":"café"}',
        },
        {"position": 99, "reason": 'ticker: got "x"', "record": "\\xff\x00{"},
    ]


def test_bad_records_of_another_file_day_feed_or_batch_have_another_place(tmp_path: Path) -> None:
    places = [
        history_quarantine_path(tmp_path, ZERO, DAY, "a" * 64),
        history_quarantine_path(tmp_path, ZERO, DAY, "b" * 64),
        history_quarantine_path(tmp_path, ONE, DAY, "a" * 64),
        history_quarantine_path(tmp_path, ZERO, DAY + dt.timedelta(days=1), "a" * 64),
        live_quarantine_path(tmp_path, "a", 1, 0),
        live_quarantine_path(tmp_path, "a", 1, 10),
        live_quarantine_path(tmp_path, "a", 2, 0),
        live_quarantine_path(tmp_path, "b", 1, 0),
    ]
    assert len(set(places)) == len(places)
    assert places[0] == tmp_path / "gexbot" / "SPX" / "gex_zero" / "20260429-aaaaaaaaaaaa.jsonl"
    assert all(place.is_relative_to(tmp_path) for place in places)


# The request queue

KEY = request_id(ZERO, DAY)
SIGNED = "https://hist.gex.bot/2026-04-29_SPX_classic_gex_zero.json?sig=1"
SIGNED_AGAIN = SIGNED.replace("sig=1", "sig=2")


def announce(connection: duckdb.DuckDBPyConnection, url: str = SIGNED, at_ms: int = 1000, **changes: Any) -> None:
    named: dict[str, Any] = {"feed": ZERO, "date": DAY} | changes
    request_queue.announce(
        connection, named["feed"], named["date"], url=url, metadata='{"a":1}', announced_at_ms=at_ms
    )


def the_request(connection: duckdb.DuckDBPyConnection) -> Request:
    found = request_queue.find_request(connection, KEY)
    assert found is not None
    return found


def test_an_announced_file_is_pending(database: duckdb.DuckDBPyConnection) -> None:
    assert request_queue.find_request(database, KEY) is None
    assert request_queue.find_announcement(database, ZERO, DAY) is None
    announce(database)
    assert the_request(database) == Request(
        KEY, "SPX", "gex_zero", DAY, "pending", 0, None, None, announced=1, announced_at=1000, started_at=None,
        finished_at=None,
    )  # fmt: skip
    assert the_request(database).feed == ZERO
    assert request_queue.find_announcement(database, ZERO, DAY) == (SIGNED, 1000)
    assert request_queue.find_announcement(database, ONE, DAY) is None
    assert database.execute("SELECT metadata FROM gex_history_queue").fetchall() == [('{"a":1}',)]


def test_a_file_announced_again_refreshes_its_request(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    announce(database, SIGNED_AGAIN, 2000)
    request = the_request(database)
    assert (request.status, request.announced, request.announced_at) == ("pending", 2, 2000)
    assert request_queue.find_announcement(database, ZERO, DAY) == (SIGNED_AGAIN, 2000)
    assert len(request_queue.list_requests(database)) == 1


def test_a_request_goes_from_pending_over_started_to_completed(database: duckdb.DuckDBPyConnection) -> None:
    before_ms = epoch_ms()
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    request = the_request(database)
    assert (request.status, request.attempts, request.run_id, request.started_at) == ("started", 1, None, 5000)
    request_queue.mark_running(database, KEY, "run 1")
    assert (the_request(database).status, the_request(database).run_id) == ("started", "run 1")
    request_queue.mark_completed(database, KEY, "run 1")
    request = the_request(database)
    assert (request.status, request.attempts, request.run_id) == ("completed", 1, "run 1")
    assert (request.last_error, request.started_at) == (None, 5000)
    assert request.finished_at is not None
    assert before_ms <= request.finished_at <= epoch_ms()


def test_a_signed_url_is_kept_until_the_request_is_completed_and_then_forgotten(
    database: duckdb.DuckDBPyConnection,
) -> None:
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_failed(database, KEY, error="lost", run_id="run", try_again=True)
    request_queue.mark_started(database, KEY, 5000)
    assert request_queue.find_announcement(database, ZERO, DAY) == (SIGNED, 1000)
    request_queue.mark_completed(database, KEY, "run")
    assert request_queue.find_announcement(database, ZERO, DAY) is None
    assert "sig" not in str(database.execute("FROM gex_history_queue").fetchall())


def test_a_url_without_a_signature_outlives_its_request(database: duckdb.DuckDBPyConnection) -> None:
    plain = SIGNED.partition("?")[0]
    announce(database, plain)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_completed(database, KEY, "run")
    assert request_queue.find_announcement(database, ZERO, DAY) == (plain, 1000)


def test_a_failed_attempt_is_tried_again_or_is_the_end(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    for attempt, try_again in ((1, True), (2, False)):
        request_queue.mark_started(database, KEY, 5000)
        request_queue.mark_failed(
            database, KEY, error=f"error {attempt}", run_id=f"run {attempt}", try_again=try_again
        )
        request = the_request(database)
        assert request.status == ("pending" if try_again else "failed")
        assert (request.attempts, request.last_error, request.run_id) == (
            attempt,
            f"error {attempt}",
            f"run {attempt}",
        )
        assert request.finished_at is not None


def test_a_failure_without_a_run_keeps_the_run_that_was_noted(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_running(database, KEY, "run 1")
    request_queue.mark_failed(database, KEY, error="lost", run_id=None, try_again=True)
    assert the_request(database).run_id == "run 1"
    request_queue.mark_started(database, KEY, 5000)
    assert (the_request(database).run_id, the_request(database).finished_at) == (None, None)


def test_a_completed_attempt_after_a_failed_one_clears_the_error(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_failed(database, KEY, error="once", run_id="1", try_again=True)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_completed(database, KEY, "2")
    assert (the_request(database).attempts, the_request(database).last_error) == (2, None)


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_finished_request_announced_again_is_pending_anew(database: duckdb.DuckDBPyConnection, end: str) -> None:
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    if end == "completed":
        request_queue.mark_completed(database, KEY, "run")
    else:
        request_queue.mark_failed(database, KEY, error="gone", run_id="run", try_again=False)
    announce(database, SIGNED_AGAIN, 2000)
    request = the_request(database)
    assert (request.status, request.attempts, request.announced, request.finished_at) == ("pending", 0, 2, None)
    assert request_queue.find_announcement(database, ZERO, DAY) == (SIGNED_AGAIN, 2000)


def test_a_started_request_announced_again_goes_on(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_running(database, KEY, "run")
    announce(database, SIGNED_AGAIN, 2000)
    request = the_request(database)
    assert (request.status, request.attempts, request.run_id, request.announced) == ("started", 1, "run", 2)
    assert request_queue.find_announcement(database, ZERO, DAY) == (SIGNED_AGAIN, 2000)


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_a_request_that_has_ended_cannot_run_or_end_again(database: duckdb.DuckDBPyConnection, state: str) -> None:
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    if state == "completed":
        request_queue.mark_completed(database, KEY, "run")
    if state == "failed":
        request_queue.mark_failed(database, KEY, error="gone", run_id="run", try_again=False)
    before = the_request(database)
    assert before.status == state
    request_queue.mark_running(database, KEY, "late")
    request_queue.mark_completed(database, KEY, "late")
    request_queue.mark_failed(database, KEY, error="late", run_id="late", try_again=True)
    assert the_request(database) == before


def test_a_pending_request_can_fail_without_a_run_but_not_complete(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    request_queue.mark_running(database, KEY, "early")
    request_queue.mark_completed(database, KEY, "early")
    assert (the_request(database).status, the_request(database).run_id) == ("pending", None)
    request_queue.mark_failed(database, KEY, error="a holiday", run_id=None, try_again=False)
    assert (the_request(database).status, the_request(database).last_error) == ("failed", "a holiday")


@pytest.mark.parametrize("state", ["started", "completed", "failed"])
def test_only_a_pending_request_is_started(database: duckdb.DuckDBPyConnection, state: str) -> None:
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    if state == "completed":
        request_queue.mark_completed(database, KEY, "run")
    if state == "failed":
        request_queue.mark_failed(database, KEY, error="gone", run_id="run", try_again=False)
    before = the_request(database)
    request_queue.mark_started(database, KEY, 5000)
    assert the_request(database) == before


def test_requests_are_listed_by_status_the_last_announced_first(database: duckdb.DuckDBPyConnection) -> None:
    days = [DAY + dt.timedelta(days=day) for day in range(3)]
    for at_ms, day in enumerate(days):
        announce(database, at_ms=at_ms, date=day)
    request_queue.mark_started(database, request_id(ZERO, days[1]), 5000)
    listed = request_queue.list_requests
    assert [request.date for request in listed(database)] == days[::-1]
    assert [request.date for request in listed(database, limit=1)] == days[2:]
    assert [request.date for request in listed(database, statuses=["pending"])] == [days[2], days[0]]
    assert [request.date for request in listed(database, statuses=request_queue.OPEN)] == days[::-1]
    assert listed(database, statuses=["failed"]) == listed(database, statuses=[]) == []


def test_what_is_done_to_one_request_leaves_the_others_alone(database: duckdb.DuckDBPyConnection) -> None:
    for feed, date in ((ZERO, DAY), (ONE, DAY), (ZERO, DAY + dt.timedelta(days=1))):
        announce(database, feed=feed, date=date)
    others = [request for request in request_queue.list_requests(database) if request.id != KEY]
    assert len(others) == 2
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_running(database, KEY, "run")
    request_queue.mark_failed(database, KEY, error="gone", run_id="run", try_again=True)
    announce(database)
    request_queue.mark_started(database, KEY, 5000)
    request_queue.mark_completed(database, KEY, "run")
    assert [request for request in request_queue.list_requests(database) if request.id != KEY] == others


def test_a_request_is_shown_without_its_url(database: duckdb.DuckDBPyConnection) -> None:
    announce(database)
    shown = json.dumps(the_request(database).public())
    assert json.loads(shown)["date"] == "2026-04-29"
    assert json.loads(shown)["id"] == KEY
    assert "sig" not in shown
    assert "http" not in shown
