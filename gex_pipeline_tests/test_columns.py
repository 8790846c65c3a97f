"""Snapshots as tables: every value of the source, null where there was none."""

import json
from typing import Any

import pyarrow as pa

from gex_pipeline.feeds import Feed
from gex_pipeline.formats.columns import SNAPSHOTS_SCHEMA, STRIKES_SCHEMA, SnapshotColumns
from gex_pipeline.formats.gexbot import parse_snapshot

ZERO, ONE = Feed("SPX", "gex_zero"), Feed("NQ_NDX", "gex_one")
FULL: dict[str, Any] = {
    "timestamp": 1777492800,
    "spot": 7138.55,
    "zero_gamma": 0,
    "net_gex": -1.5,
    "min_dte": 0,
    "sec_min_dte": 2**31 - 1,
    "major_pos_vol": 7135,
    "major_pos_oi": 7200,
    "major_neg_vol": 7100,
    "major_neg_oi": 6900,
    "sum_gex_vol": 1712585.519,
    "sum_gex_oi": 5e-324,
    "delta_risk_reversal": 0.1 + 0.2,
    "net_gex_vol": 1e300,
    "net_gex_oi": -0.118,
    "max_priors": "[[7140, 1.10]]",
    "max_change": '{"one":[1,2]}',
    "cadence": 1.10,
}
BARE: dict[str, Any] = {"timestamp": 1777492801, "spot": 1}


def tables(*sources: dict[str, Any], feed: Feed = ZERO) -> tuple[pa.Table, pa.Table]:
    columns = SnapshotColumns()
    for source in sources:
        columns.append(parse_snapshot(json.dumps(source).encode()), feed)
    return columns.tables()


def ladder(*strikes: object) -> list[tuple[Any, ...]]:
    """The strikes of one snapshot as rows of the table, without the key."""
    _, table = tables(BARE | {"strikes": list(strikes)})
    return [tuple(row[name] for name in STRIKES_SCHEMA.names[3:]) for row in table.to_pylist()]


def test_a_snapshots_row_has_every_value_of_its_source() -> None:
    snapshots, strikes = tables(FULL)
    assert snapshots.schema == SNAPSHOTS_SCHEMA
    names = {"spot": "spot_price", "cadence": "extra"}
    expected = {names.get(name, name): value for name, value in FULL.items()}
    expected |= {"timestamp": 1777492800000, "ticker": "SPX", "endpoint": "gex_zero", "extra": '{"cadence":1.1}'}
    assert snapshots.to_pylist() == [expected]
    assert strikes.equals(STRIKES_SCHEMA.empty_table())


def test_what_a_snapshot_does_not_say_is_null_even_beside_one_that_does() -> None:
    snapshots, _ = tables(BARE, FULL)
    absent = dict.fromkeys(SNAPSHOTS_SCHEMA.names)
    key = {"timestamp": 1777492801000, "ticker": "SPX", "endpoint": "gex_zero", "spot_price": 1}
    assert snapshots.to_pylist()[0] == absent | key
    assert None not in snapshots.to_pylist()[1].values()


def test_a_snapshot_without_spot_has_a_null_there() -> None:
    snapshots, strikes = tables({"timestamp": 1777492800, "strikes": [[6890, 1]]})
    assert snapshots["spot_price"].to_pylist() == [None]
    assert strikes["strike"].to_pylist() == [6890]


def test_days_to_expiry_are_whole_numbers_in_the_table() -> None:
    snapshots, _ = tables(FULL)
    assert snapshots.schema.field("min_dte").type == snapshots.schema.field("sec_min_dte").type == pa.int32()
    assert snapshots["sec_min_dte"].to_pylist() == [2**31 - 1]


def test_strikes_have_every_value_of_their_source_in_its_order() -> None:
    assert ladder([6895, 0.1 + 0.2, -0.0, [1, 2, 3, 4, 5]], [6890, 1e-7, 5, [6, 7, 8, 9, 1e300]], [25197.21, 1]) == [
        (6895, 0.1 + 0.2, 0, None, [1, 2, 3, 4, 5]),
        (6890, 1e-7, 5, None, [6, 7, 8, 9, 1e300]),
        (25197.21, 1, None, None, None),
    ]


def test_missing_empty_short_and_holed_priors_are_told_apart() -> None:
    priors = [None, [], [1], [1, None], [None], [1, 2, 3, 4, 5, 6, 7], None, [8]]
    assert [row[-1] for row in ladder(*([6890, 1, 2, sent] for sent in priors))] == priors
    assert [row[-1] for row in ladder(*([6890, 1, 2, sent] for sent in priors if sent is not None))] == [
        sent for sent in priors if sent is not None
    ]


def test_vanna_is_null_for_the_strikes_and_snapshots_that_have_none() -> None:
    with_vanna = [{"strike": 1, "vanna": 0.5}, {"strike": 2}, {"strike": 3, "vanna": 0}]
    _, strikes = tables(
        BARE | {"strikes": [[1, 2]]}, BARE | {"strikes": with_vanna}, BARE, BARE | {"strikes": [{"strike": 4}]}
    )
    assert strikes["vanna"].to_pylist() == [None, 0.5, None, 0, None]
    assert ladder([1, 2])[0][3] is None


def test_rows_of_several_snapshots_and_feeds_stay_with_their_own() -> None:
    columns = SnapshotColumns()
    sources = [
        (ZERO, {"timestamp": 1777492802, "spot": 1, "strikes": [[1, 10, 11, [12]], [2, 20]]}),
        (ONE, {"timestamp": 1777492801, "spot": 2}),
        (ONE, {"timestamp": 1777492800, "spot": 3, "strikes": [{"strike": 3, "gamma": 30, "history": [31, 32]}]}),
        (ZERO, {"timestamp": 1777492803, "spot": 4, "strikes": [[4, 40, 41, []]]}),
    ]
    for feed, source in sources:
        columns.append(parse_snapshot(json.dumps(source).encode()), feed)
    assert len(columns) == 4
    snapshots, strikes = columns.tables()
    key = ("timestamp", "ticker", "endpoint")
    assert [(*(row[name] for name in key), row["spot_price"]) for row in snapshots.to_pylist()] == [
        (1777492802000, "SPX", "gex_zero", 1),
        (1777492801000, "NQ_NDX", "gex_one", 2),
        (1777492800000, "NQ_NDX", "gex_one", 3),
        (1777492803000, "SPX", "gex_zero", 4),
    ]
    assert [(*(row[name] for name in key), row["strike"], row["priors"]) for row in strikes.to_pylist()] == [
        (1777492802000, "SPX", "gex_zero", 1, [12]),
        (1777492802000, "SPX", "gex_zero", 2, None),
        (1777492800000, "NQ_NDX", "gex_one", 3, [31, 32]),
        (1777492803000, "SPX", "gex_zero", 4, []),
    ]


def test_the_feed_of_a_row_is_the_one_it_was_appended_under() -> None:
    snapshots, strikes = tables(BARE | {"ticker": "SPX", "endpoint": "gex_full", "strikes": [[1, 2]]}, feed=ONE)
    for table in (snapshots, strikes):
        assert table.select(["ticker", "endpoint"]).to_pylist() == [{"ticker": "NQ_NDX", "endpoint": "gex_one"}]


def test_an_empty_batch_has_empty_tables_of_the_declared_schemas() -> None:
    columns = SnapshotColumns()
    columns.append(parse_snapshot(json.dumps(FULL).encode()), ZERO)
    columns.clear()
    assert len(columns) == 0
    snapshots, strikes = columns.tables()
    assert snapshots.equals(SNAPSHOTS_SCHEMA.empty_table())
    assert strikes.equals(STRIKES_SCHEMA.empty_table())
    columns.append(parse_snapshot(json.dumps(BARE).encode()), ONE)
    snapshots, _ = columns.tables()
    assert [(row["timestamp"], row["ticker"]) for row in snapshots.to_pylist()] == [(1777492801000, "NQ_NDX")]
