"""The loader: every journal record reaches its table once, whatever dies in between."""

import datetime as dt
import json
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
import zstandard

from gex_pipeline.demo.sessions import Session, snapshots
from gex_pipeline.feeds import Feed, request_id
from gex_pipeline.formats.gexbot import Snapshot, parse_snapshot
from gex_pipeline.journal import Kind, archived_path, encode_record, list_segments, name_journal, segment_path
from gex_pipeline.loader import batch, loading
from gex_pipeline.loader.loading import BATCH_RECORDS, Loader
from gex_pipeline.loader.position import Position
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.processes import clean_environment

DAY = dt.date(2025, 11, 14)
RECEIVED_MS = 1_763_130_662_000
OPENING_MS = 1_763_130_600_000
TRADE: dict[str, Any] = {
    "id": "3f1c2a7e",
    "executed_at": "2025-11-14T14:31:02.123Z",
    "option_chain_id": "SPXW251114C06850000",
    "price": "4.20",
    "size": 10,
    "underlying_price": "6838.17",
    "implied_volatility": "0.181",
    "tags": ["ask_side"],
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = load_settings(data_dir=tmp_path / "data")
    settings.journal_dir.mkdir(parents=True)
    name_journal(settings.journal_dir)
    return settings


def write(settings: Settings, kind: Kind, *bodies: object, segment: int = 1) -> None:
    """Append captures to a segment as the gateway does, one second apart."""
    with segment_path(settings.journal_dir, segment).open("ab") as file:
        for number, body in enumerate(bodies):
            file.write(encode_record(kind, RECEIVED_MS + 1000 * number, msgspec.json.encode(body)))


def snapshot(second: int = 0, **fields: object) -> dict[str, object]:
    strikes = [[6890, -228.01, -86.9, [-240.55, -243, -245.22, -221.27, -220.12]], [6895.21, -48.47, 69.76]]
    return {"timestamp": OPENING_MS // 1000 + second, "ticker": "SPX", "spot": 6838.5, "strikes": strikes} | fields


def load(settings: Settings) -> Loader:
    """Load until nothing is left."""
    loader = Loader(settings, lease_timeout_seconds=20)
    while loader.load_next():
        pass
    return loader


def rows(settings: Settings, query: str) -> list[Any]:
    with lease(settings.database_path, purpose="look", timeout_seconds=10) as connection:
        return connection.execute(query).fetchall()


def counts(settings: Settings) -> dict[str, int]:
    names = ("gex_snapshots", "gex_strikes", "universal_webhooks", "option_trades_events", "gex_history_queue")
    return {name: rows(settings, f"SELECT count(*) FROM {name}")[0][0] for name in names}  # noqa: S608


def quarantined(settings: Settings) -> list[dict[str, Any]]:
    files = sorted(settings.quarantine_dir.rglob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


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


def test_a_database_that_vanished_is_filled_again_from_the_archive_too(settings: Settings) -> None:
    for segment in (1, 2, 3):
        write(settings, "gex", snapshot(segment), segment=segment)
    loader = load(settings)
    loader.archive_loaded()
    assert list_segments(settings.journal_dir) == [3]
    before = rows(settings, "SELECT timestamp, ticker, spot_price FROM gex_snapshots ORDER BY ALL")
    settings.database_path.unlink()
    load(settings)
    assert rows(settings, "SELECT timestamp, ticker, spot_price FROM gex_snapshots ORDER BY ALL") == before
    assert len(before) == 3


def test_a_position_inside_an_archived_segment_is_gone_on_from(settings: Settings) -> None:
    write(settings, "gex", *(snapshot(second) for second in range(5)), segment=1)
    write(settings, "gex", snapshot(9), segment=2)
    loader = load(settings)
    loader.archive_loaded()
    second_line = len(encode_record("gex", RECEIVED_MS, msgspec.json.encode(snapshot(0))))
    rows(settings, f"UPDATE loader_position SET segment = 1, byte_offset = {second_line}")  # noqa: S608
    rows(settings, "DELETE FROM gex_snapshots; DELETE FROM gex_strikes")
    load(settings)
    assert len(rows(settings, "SELECT * FROM gex_snapshots")) == 5


def test_loading_again_after_any_crash_loads_nothing_twice(settings: Settings) -> None:
    write(settings, "gex", *(snapshot(second) for second in range(BATCH_RECORDS + 5)))
    write(settings, "uw", ["flow-alerts", {}], ["option_trades:SPXW", TRADE])
    assert Loader(settings).load_next() == BATCH_RECORDS
    assert Loader(settings).load_next() == 7
    assert Loader(settings).load_next() == 0
    assert list(counts(settings).values()) == [BATCH_RECORDS + 5, 2 * (BATCH_RECORDS + 5), 2, 1, 0]


def test_a_crash_before_the_commit_leaves_nothing_and_the_batch_is_loaded_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(settings, "gex", snapshot(1), snapshot(2))
    write(settings, "uw", ["option_trades:SPXW", TRADE])
    write(settings, "gex_history_url", {"ticker": "SPX", "endpoint": "gex_zero", "date": DAY, "url": "https://h/a"})
    loader = Loader(settings)

    def crash(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(loading, "write_position", crash)
        with pytest.raises(MemoryError):
            loader.load_next()
    assert set(counts(settings).values()) == {0}
    assert rows(settings, "FROM data_lineage") == []
    assert loader.load_next() == 4
    assert list(counts(settings).values()) == [2, 4, 1, 1, 1]


def test_a_loader_that_was_overtaken_goes_on_from_where_the_database_is(settings: Settings) -> None:
    write(settings, "uw", ["flow-alerts", {"number": 1}])
    slow, fast = Loader(settings), Loader(settings)
    slow.load_next()
    fast.load_next()
    write(settings, "uw", ["flow-alerts", {"number": 2}])
    fast.load_next()
    write(settings, "uw", ["flow-alerts", {"number": 3}])
    slow.load_next()
    assert slow.position == fast.position
    slow.load_next()
    assert rows(settings, "SELECT payload FROM universal_webhooks") == [(f'{{"number":{n}}}',) for n in (1, 2, 3)]


def test_two_loaders_at_once_load_everything_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "BATCH_RECORDS", 7)
    write(settings, "uw", *(["flow-alerts", {"number": number}] for number in range(100)))
    loaders = [threading.Thread(target=load, args=[settings]) for _ in range(2)]
    for each in loaders:
        each.start()
    for each in loaders:
        each.join(60)
    assert rows(settings, "SELECT count(*), count(DISTINCT payload) FROM universal_webhooks") == [(100, 100)]


def test_a_second_loader_process_waits_for_the_first_and_finds_nothing_left(settings: Settings) -> None:
    write(settings, "gex", *(snapshot(second) for second in range(50)))
    command = [sys.executable, "-m", "gex_pipeline.loader", "--once", "--data-dir", str(settings.data_dir)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, env=clean_environment()) for _ in range(2)]
    ends = [(process.communicate(timeout=30)[1], process.returncode) for process in processes]
    assert ends == [(b"", 0), (b"", 0)]
    assert counts(settings)["gex_snapshots"] == 50


def test_a_loader_process_without_its_gateway_loads_everything_and_ends(settings: Settings) -> None:
    write(settings, "gex", *(snapshot(second) for second in range(2 * BATCH_RECORDS + 1)))
    command = [sys.executable, "-m", "gex_pipeline.loader", "--exit-with-stdin", "--data-dir", str(settings.data_dir)]
    subprocess.run(command, stdin=subprocess.DEVNULL, timeout=30, check=True, env=clean_environment())
    assert counts(settings)["gex_snapshots"] == 2 * BATCH_RECORDS + 1


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("gex", {"ticker": "SPX", "spot": 1}, "timestamp: got nothing"),
        ("gex", {"timestamp": 1763130600, "spot": 1}, "ticker: got nothing"),
        ("gex", snapshot(strikes=[["x"]]), "strikes.0"),
        ("uw", {"payload": {}}, "topic: got nothing"),
        ("uw", ["gex:SPX", {"timestamp": "9" * 400, "strikes": []}], "timestamp: got 9999"),
        ("gex_history_url", {"ticker": "SPX"}, "endpoint"),
    ],
)
def test_what_cannot_be_transformed_is_kept_with_the_reason_and_the_rest_is_loaded(
    settings: Settings, kind: Kind, body: object, reason: str
) -> None:
    write(settings, "gex", snapshot(1))
    write(settings, kind, body)
    write(settings, "gex", snapshot(2))
    load(settings)
    assert counts(settings) | {"gex_snapshots": 2, "gex_strikes": 4} == counts(settings)
    [bad] = quarantined(settings)
    assert reason in bad["reason"]
    assert json.loads(bad["record"]) == body
    lines = segment_path(settings.journal_dir, 1).read_bytes()
    assert lines[bad["position"] :].startswith(b'{"received_at"')
    assert lines.index(bad["record"].encode()) > bad["position"]


def test_no_record_can_hold_up_those_that_come_after_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(body: bytes) -> Snapshot:
        if b'"trap"' in body:
            raise ZeroDivisionError("nobody thought of this")
        return parse_snapshot(body)

    monkeypatch.setattr(batch, "parse_snapshot", parse)
    write(settings, "gex", snapshot(1), snapshot(2, trap=1), snapshot(3))
    load(settings)
    assert counts(settings)["gex_snapshots"] == 2
    [bad] = quarantined(settings)
    assert bad["reason"] == "ZeroDivisionError: nobody thought of this"


def test_a_row_that_the_users_own_table_refuses_is_put_aside_and_the_rest_is_loaded(settings: Settings) -> None:
    rows(settings, "CREATE TABLE gex_snapshots (timestamp BIGINT, ticker VARCHAR, UNIQUE (timestamp, ticker))")
    one = snapshot(1, endpoint="gex_one")
    write(settings, "gex", snapshot(0), snapshot(1), one, snapshot(2))
    load(settings)
    assert rows(settings, "SELECT timestamp - 1763130600000, endpoint FROM gex_snapshots ORDER BY ALL") == [
        (0, "gex_zero"),
        (1000, "gex_zero"),
        (2000, "gex_zero"),
    ]
    [bad] = quarantined(settings)
    assert json.loads(bad["record"]) == one
    assert "the database refused it: " in bad["reason"]


def test_a_message_with_a_bad_trade_is_kept_as_a_message(settings: Settings) -> None:
    write(settings, "uw", ["option_trades:SPXW", TRADE | {"price": "four"}], ["option_trades:SPXW", TRADE])
    load(settings)
    assert counts(settings) | {"universal_webhooks": 2, "option_trades_events": 1} == counts(settings)
    [bad] = quarantined(settings)
    assert bad["reason"].startswith("price: got four")


def test_damaged_and_torn_lines_go_to_quarantine_and_later_lines_are_loaded(settings: Settings) -> None:
    write(settings, "gex", snapshot(1), snapshot(2), snapshot(3))
    path = segment_path(settings.journal_dir, 1)
    path.write_bytes(
        path.read_bytes().replace(str(OPENING_MS // 1000 + 2).encode(), b"1777777777") + b'{"received_at":17'
    )
    load(settings)
    assert [bad["reason"] for bad in quarantined(settings)] == ["damaged: the checksum does not match"]
    write(settings, "gex", snapshot(4), segment=2)
    load(settings)
    assert [bad["record"] for bad in quarantined(settings)][1:] == ['{"received_at":17']
    assert [row[0] - OPENING_MS for row in rows(settings, "SELECT timestamp FROM gex_snapshots ORDER BY ALL")] == [
        1000, 3000, 4000,
    ]  # fmt: skip


def test_bytes_that_are_no_text_are_quarantined_legibly(settings: Settings) -> None:
    segment_path(settings.journal_dir, 1).write_bytes(b"\xff\x00oops\n")
    load(settings)
    assert [bad["record"] for bad in quarantined(settings)] == ["\\xff\x00oops\n"]


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


def test_loaded_segments_are_archived_whole_and_the_newest_stays(settings: Settings) -> None:
    for segment in (1, 2, 4):
        write(settings, "gex", *(snapshot(100 * segment + second) for second in range(20)), segment=segment)
    segment_path(settings.journal_dir, 3).write_bytes(b"")
    originals = {n: segment_path(settings.journal_dir, n).read_bytes() for n in (1, 2, 4)}
    loader = load(settings)
    loader.archive_loaded()
    assert list_segments(settings.journal_dir) == [4]
    assert segment_path(settings.journal_dir, 4).read_bytes() == originals[4]
    for segment in (1, 2):
        path = archived_path(settings.journal_dir, segment)
        assert zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read() == originals[segment]
        assert path.stat().st_mode & 0o077 == 0
    assert not archived_path(settings.journal_dir, 3).exists()
    assert counts(settings)["gex_snapshots"] == 60

    write(settings, "gex", snapshot(0), segment=5)
    load(settings).archive_loaded()
    assert list_segments(settings.journal_dir) == [5]


def test_a_segment_is_not_archived_before_it_is_loaded(settings: Settings) -> None:
    loader = load(settings)
    for segment in (1, 2, 3):
        write(settings, "gex", snapshot(segment), segment=segment)
    loader.archive_loaded()
    loader.load_next()
    loader.archive_loaded()
    assert list_segments(settings.journal_dir) == [1, 2, 3]
    loader.load_next()
    loader.archive_loaded()
    assert list_segments(settings.journal_dir) == [2, 3]


def test_the_newest_segment_stays_wherever_the_position_is(settings: Settings) -> None:
    loader = load(settings)
    for segment in (1, 2):
        write(settings, "gex", snapshot(segment), segment=segment)
    loader.position = Position(9, 0)
    loader.archive_loaded()
    assert list_segments(settings.journal_dir) == [2]


def test_lines_are_read_as_they_are_appended_also_to_the_segment_before_the_newest(settings: Settings) -> None:
    write(settings, "gex", snapshot(1))
    loader = load(settings)
    write(settings, "gex", snapshot(2))
    write(settings, "gex", snapshot(3), segment=2)
    assert [loader.load_next() for _ in range(3)] == [1, 1, 0]
    assert loader.position == Position(2, segment_path(settings.journal_dir, 2).stat().st_size)
    assert counts(settings)["gex_snapshots"] == 3


def test_the_position_of_another_journal_hides_nothing(settings: Settings, tmp_path: Path) -> None:
    write(settings, "uw", *(["flow-alerts", {"number": number}] for number in range(30)), segment=7)
    load(settings)
    settings.journal_dir.rename(tmp_path / "old journal")
    settings.journal_dir.mkdir()
    name_journal(settings.journal_dir)
    write(settings, "uw", ["flow-alerts", {"number": 99}])
    load(settings)
    load(settings)
    numbers = rows(settings, "SELECT (payload->>'number')::INT AS number FROM universal_webhooks ORDER BY number")
    assert numbers == [*((number,) for number in range(30)), (99,)]
    assert rows(settings, "SELECT count(*) FROM loader_position") == [(2,)]


def test_a_database_that_vanished_is_built_again_from_the_journal(settings: Settings) -> None:
    write(settings, "gex", snapshot(1))
    loader = load(settings)
    settings.database_path.unlink()
    write(settings, "gex", snapshot(2))
    loader.load_next()
    loader.load_next()
    assert counts(settings)["gex_snapshots"] == 2


def test_a_folder_without_a_journal_has_nothing_to_load(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    assert Loader(settings).load_next() == 0
    assert not settings.database_path.exists()


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
