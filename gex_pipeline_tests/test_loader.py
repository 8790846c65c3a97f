"""The loader: what becomes of each kind of journal record."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from gex_pipeline.demo.sessions import Session, snapshots
from gex_pipeline.feeds import Feed, request_id
from gex_pipeline.settings import Settings
from gex_pipeline_tests.captures import (
    DAY,
    OPENING_MS,
    RECEIVED_MS,
    TRADE,
    counts,
    load,
    new_journal,
    quarantined,
    rows,
    snapshot,
    write,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return new_journal(tmp_path)


def test_a_snapshot_becomes_one_row_and_a_row_for_each_strike(settings: Settings) -> None:
    write(
        settings,
        "gex",
        snapshot(
            zero_gamma=0,
            min_dte=0,
            sec_min_dte=1,
            major_pos_vol=6890,
            sum_gex_vol=1712585.519,
            max_priors=[[7140, 170979.742]],
            endpoint="one",
            note={"kept": True},
        ),
    )
    load(settings)
    [row] = rows(
        settings,
        "SELECT timestamp, ticker, endpoint, spot_price, zero_gamma, net_gex, min_dte, sec_min_dte, major_pos_vol, "
        "sum_gex_vol, max_priors, max_change, extra, source FROM gex_snapshots",
    )
    assert row == (
        OPENING_MS, "SPX", "gex_one", 6838.5, 0.0, None, 0, 1, 6890.0,
        1712585.519, "[[7140,170979.742]]", None, '{"note":{"kept":true}}', "live",
    )  # fmt: skip
    assert rows(
        settings,
        "SELECT timestamp, ticker, endpoint, strike, gamma, oi_gamma, vanna, priors, source FROM gex_strikes",
    ) == [
        (
            OPENING_MS,
            "SPX",
            "gex_one",
            6890.0,
            -228.01,
            -86.9,
            None,
            [-240.55, -243, -245.22, -221.27, -220.12],
            "live",
        ),
        (OPENING_MS, "SPX", "gex_one", 6895.21, -48.47, 69.76, None, None, "live"),
    ]


def test_a_session_is_loaded_with_every_value_it_has(settings: Settings) -> None:
    session = list(snapshots(Session(feed=Feed("NQ_NDX", "gex_zero"), date=DAY, snapshots=30, strikes=20)))
    write(settings, "gex", *session)
    load(settings)
    assert rows(settings, "SELECT timestamp, spot_price, sum_gex_oi FROM gex_snapshots ORDER BY timestamp") == [
        (each["timestamp"] * 1000, each["spot"], each["sum_gex_oi"])  # type: ignore[operator]
        for each in session
    ]
    stored = rows(
        settings, "SELECT timestamp, strike, gamma, oi_gamma, priors FROM gex_strikes ORDER BY timestamp, strike"
    )
    assert stored == [
        (each["timestamp"] * 1000, *strike)  # type: ignore[operator]
        for each in session
        for strike in each["strikes"]  # type: ignore[attr-defined]
    ]


def test_a_message_is_kept_whole_and_a_trade_in_it_gets_typed_columns(settings: Settings) -> None:
    write(
        settings,
        "uw",
        [None, None, "option_trades:SPXW", "new_msg", {"data": TRADE}],
        ["flow-alerts", {"ticker": "TSLA"}],
        {"topic": "news", "event_type": "new", "payload": "text"},
    )
    load(settings)
    assert rows(settings, "SELECT received_at, topic, event, payload::JSON FROM universal_webhooks") == [
        (RECEIVED_MS, "option_trades:SPXW", "new_msg", json.dumps({"data": TRADE}, separators=(",", ":"))),
        (RECEIVED_MS + 1000, "flow-alerts", None, '{"ticker":"TSLA"}'),
        (RECEIVED_MS + 2000, "news", "new", '"text"'),
    ]
    assert rows(
        settings,
        "SELECT received_at, topic, id, executed_at, underlying_symbol, expiry, option_type, strike, price, size, "
        "underlying_price, implied_volatility, tags FROM option_trades_events",
    ) == [
        (
            RECEIVED_MS, "option_trades:SPXW", "3f1c2a7e", 1_763_130_662_123, "SPXW", DAY, "call",
            Decimal(6850), Decimal("4.20"), 10, Decimal("6838.17"), 0.181, ["ask_side"],
        )
    ]  # fmt: skip


def test_control_messages_in_the_journal_are_no_data(settings: Settings) -> None:
    write(settings, "uw", [None, "1", "phoenix", "heartbeat", {}], ["gex:SPX", {"response": {}, "status": "ok"}])
    load(settings)
    assert counts(settings)["universal_webhooks"] == 0
    assert not quarantined(settings)


def test_a_snapshot_inside_a_message_is_a_snapshot_too(settings: Settings) -> None:
    write(settings, "uw", ["gex:SPX", snapshot()])
    load(settings)
    assert rows(settings, "SELECT timestamp, ticker, spot_price, source FROM gex_snapshots") == [
        (OPENING_MS, "SPX", 6838.5, "uw")
    ]
    assert rows(settings, "SELECT DISTINCT source FROM gex_strikes") == [("uw",)]
    assert counts(settings) | {"universal_webhooks": 1, "gex_strikes": 2} == counts(settings)


def test_the_same_snapshot_by_both_ways_is_one_row_from_the_first(settings: Settings) -> None:
    write(settings, "gex", snapshot(1))
    write(settings, "uw", ["gex:SPX", snapshot(1)], ["gex:SPX", snapshot(2)])
    write(settings, "gex", snapshot(2))
    load(settings)
    assert rows(settings, "SELECT source FROM gex_snapshots ORDER BY timestamp") == [("live",), ("uw",)]
    assert counts(settings)["gex_strikes"] == 4


def test_an_announcement_is_queued_and_another_of_the_same_day_refreshes_its_url(settings: Settings) -> None:
    first = {
        "ticker": "SPX",
        "endpoint": "gex_zero",
        "date": "2025-11-14",
        "url": "https://h/a?sig=1",
        "metadata": None,
    }
    write(settings, "gex_history_url", first, first | {"date": "2025-11-17"})
    load(settings)
    write(settings, "gex_history_url", first | {"url": "https://h/a?sig=2"})
    load(settings)
    expected = [(DAY, "https://h/a?sig=2", 2, "pending"), (dt.date(2025, 11, 17), "https://h/a?sig=1", 1, "pending")]
    assert rows(settings, "SELECT date, url, announced, status FROM gex_history_queue ORDER BY date") == expected
    key = request_id(Feed("SPX", "gex_zero"), DAY)
    assert rows(settings, "SELECT id, announced_at FROM gex_history_queue ORDER BY date")[0] == (key, RECEIVED_MS + 1)


@pytest.mark.parametrize("metadata", [{"day": "x"}, "text", [1], 5, None])
def test_an_announcement_keeps_whatever_metadata_came_with_it(settings: Settings, metadata: object) -> None:
    announcement = {"ticker": "SPX", "endpoint": "gex_zero", "date": "2025-11-14", "url": "https://x/y"}
    write(settings, "gex_history_url", announcement | {"metadata": metadata})
    load(settings)
    [(kept,)] = rows(settings, "SELECT metadata FROM gex_history_queue")
    assert (None if kept is None else json.loads(kept)) == metadata


def test_a_trade_that_is_sent_again_is_one_event(settings: Settings) -> None:
    other = TRADE | {"id": "other", "executed_at": "2025-11-14T14:31:03Z"}
    write(settings, "uw", ["option_trades:SPXW", TRADE], ["option_trades:SPXW", {"data": [TRADE, other]}])
    load(settings)
    write(settings, "uw", ["option_trades_super_algo:SPX", TRADE | {"price": "9.99"}], ["option_trades:SPXW", other])
    load(settings)
    assert rows(settings, "SELECT id, price FROM option_trades_events ORDER BY id") == [
        ("3f1c2a7e", Decimal("4.20")),
        ("other", Decimal("4.20")),
    ]
    assert counts(settings)["universal_webhooks"] == 4


def test_a_key_that_comes_again_is_counted_and_the_first_observation_stays(settings: Settings) -> None:
    write(settings, "gex", snapshot(1), snapshot(1), snapshot(1, spot=1.0), snapshot(2))
    load(settings)
    write(settings, "gex", snapshot(1, spot=2.0), snapshot(2), snapshot(2, endpoint="gex_one"), snapshot(3))
    load(settings)
    changed = snapshot(3, strikes=[[6890, 0.0, 0.0], [6895.21, -48.47, 69.76]])
    write(settings, "gex", changed, snapshot(4), segment=2)
    load(settings)
    assert rows(settings, "SELECT DISTINCT spot_price FROM gex_snapshots") == [(6838.5,)]
    assert rows(settings, "SELECT count(*) FROM gex_snapshots") == [(5,)]
    assert rows(settings, "SELECT min(gamma), count(*) FROM gex_strikes WHERE strike = 6890") == [(-228.01, 5)]
    lineage = rows(
        settings,
        "SELECT source_file.split('/')[3], record_type, status, records_imported, strikes_imported, records_present, "
        "records_differing FROM data_lineage ORDER BY import_id",
    )
    assert lineage == [
        ("00000001.jsonl", "live", "imported", 4, 8, 4, 2),
        ("00000002.jsonl", "live", "imported", 1, 2, 1, 1),
    ]
    assert rows(settings, "SELECT DISTINCT import_id FROM gex_snapshots ORDER BY 1") == [(1,), (2,)]


def test_an_older_file_keeps_its_rows_and_types(settings: Settings) -> None:
    with duckdb.connect(settings.database_path) as connection:
        connection.execute("CREATE TABLE gex_snapshots (timestamp BIGINT, ticker VARCHAR, spot_price REAL, mine INT)")
        connection.execute(
            "CREATE TABLE gex_strikes (timestamp BIGINT, ticker VARCHAR, strike DOUBLE, gamma DOUBLE, "
            "oi_gamma DOUBLE, priors VARCHAR)"
        )
        connection.execute("INSERT INTO gex_snapshots VALUES (?, 'SPX', 1.5, 42)", [OPENING_MS + 1000])
        connection.execute("INSERT INTO gex_strikes VALUES (?, 'SPX', 5, 6, 7, '[1, 2]')", [OPENING_MS + 1000])
    write(settings, "gex", snapshot(1), snapshot(2))
    load(settings)
    assert rows(settings, "SELECT timestamp, spot_price, mine, source FROM gex_snapshots ORDER BY timestamp") == [
        (OPENING_MS + 1000, 1.5, 42, None),
        (OPENING_MS + 2000, 6838.5, None, "live"),
    ]
    assert rows(settings, "SELECT strike, priors FROM gex_strikes ORDER BY strike") == [
        (5.0, "[1, 2]"),
        (6890.0, "[-240.55,-243.0,-245.22,-221.27,-220.12]"),
        (6895.21, None),
    ]
