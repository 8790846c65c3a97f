"""The loader: what cannot be loaded is kept with the reason, and the rest goes on."""

import json
from pathlib import Path

import pytest

from gex_pipeline.formats.gexbot import Snapshot, parse_snapshot
from gex_pipeline.journal import Kind, segment_path
from gex_pipeline.loader import batch
from gex_pipeline.settings import Settings
from gex_pipeline_tests.captures import (
    OPENING_MS,
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
