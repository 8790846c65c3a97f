"""Keyed inserts: the first observation stays, what differs is counted, nothing else is touched."""

from __future__ import annotations  # evaluated, they would keep DuckDB types alive

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gex_pipeline.feeds import Feed
from gex_pipeline.formats.columns import SnapshotColumns
from gex_pipeline.formats.gexbot import parse_snapshot
from gex_pipeline.formats.option_trades import trades, trades_table
from gex_pipeline.formats.unusual_whales import parse_message
from gex_pipeline.storage.lease import lease, transaction
from gex_pipeline.storage.lineage import ImportCounts
from gex_pipeline.storage.schema import column_type, ensure_schema
from gex_pipeline.storage.snapshots import SNAPSHOT_COLUMNS, STRIKE_COLUMNS, day_rows_sql, insert_new, rows_sql

ZERO, ONE = Feed("SPX", "gex_zero"), Feed("SPX", "gex_one")
DAY = dt.date(2026, 4, 29)
TIME = 1777492800
TIME_MS = TIME * 1000

Row = tuple[Any, ...]
LEGACY_SOURCE = {
    "timestamp": TIME, "spot": 7138.55, "zero_gamma": 7112.95, "min_dte": 0, "sec_min_dte": 1, "major_pos_vol": 7135,
    "major_pos_oi": 7200, "major_neg_vol": 7100, "major_neg_oi": 6900, "sum_gex_vol": 1712585.519,
    "sum_gex_oi": 51521.105, "delta_risk_reversal": 0.118, "max_priors": [[7140, 170979.742]],
    "strikes": [
        [6890, -228.01, -86.9, [-240.55, -243.15, None, -221.27, -220.12]], [6895, -48.47, None, []], [6900, 0, 0],
    ],
}  # fmt: skip


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
