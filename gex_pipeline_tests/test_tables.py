"""Tables made and adopted, keyed inserts, lineage."""

from __future__ import annotations  # evaluated, they would keep DuckDB types alive

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gex_pipeline.clock import epoch_ms
from gex_pipeline.feeds import Feed
from gex_pipeline.formats.columns import SnapshotColumns
from gex_pipeline.formats.gexbot import parse_snapshot
from gex_pipeline.formats.option_trades import trades, trades_table
from gex_pipeline.formats.unusual_whales import parse_message
from gex_pipeline.storage.lease import lease, transaction
from gex_pipeline.storage.lineage import (
    EarlierImport,
    ImportCounts,
    add_to_segment,
    find_import,
    import_ids,
    next_import_id,
    record_import,
    segment_import_id,
)
from gex_pipeline.storage.schema import TABLES, column_type, ensure_schema, has_table
from gex_pipeline.storage.snapshots import SNAPSHOT_COLUMNS, STRIKE_COLUMNS, day_rows_sql, insert_new, rows_sql
from gex_pipeline_tests.processes import rows

ZERO, ONE = Feed("SPX", "gex_zero"), Feed("SPX", "gex_one")
DAY = dt.date(2026, 4, 29)
TIME = 1777492800
TIME_MS = TIME * 1000

Row = tuple[Any, ...]


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
            "started_at_ms": epoch_ms() - 1500,
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
    record(7)
    record(8, run_id=None, status="replaced", counts=ImportCounts(5, 50, 3, 2, 1))
    found = find_import(database, ZERO, DAY, "abc")
    assert found is not None
    assert found == EarlierImport(8, 5, 1, found.import_timestamp_ms)
    assert before_ms <= found.import_timestamp_ms <= epoch_ms()
    line = database.execute(
        "SELECT * REPLACE (import_timestamp - started_at AS import_timestamp, 0 AS started_at) "
        "FROM data_lineage WHERE import_id = 8"
    ).fetchall()
    ms = line[0][14]
    assert 1500 <= ms < 10_000
    assert line == [
        (
            8,
            "a.json",
            "abc",
            "history",
            "SPX",
            "gex_zero",
            DAY,
            5,
            50,
            3,
            2,
            1,
            0,
            ms / 1000,
            ms,
            "replaced",
            None,
            None,
        ),
    ]
    assert import_ids(database, ZERO, DAY, "abc") == [7, 8]


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
