"""When each feed sent last, read from a journal that others write, archive and replace."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gex_pipeline.alerts.feeds_seen import MESSAGES, FeedsSeen
from gex_pipeline.alerts.memory import Memory, read_memory, write_memory
from gex_pipeline.alerts.telling import Standing
from gex_pipeline.journal import Kind, encode_record, name_journal, segment_path

SPX, FULL = "SPX:gex_zero", "SPX:gex_full"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    name_journal(tmp_path)
    return tmp_path


@pytest.fixture
def feeds(journal: Path) -> Iterator[FeedsSeen]:
    with closing(FeedsSeen(journal, {})) as following:
        yield following


def snapshot(ticker: str = "SPX", **fields: object) -> dict[str, object]:
    return {"timestamp": 1763130602, "ticker": ticker, "spot": 1, "strikes": [[1, 2, 3]]} | fields


def line(received_at_ms: int, body: object, kind: Kind = "gex") -> bytes:
    return encode_record(kind, received_at_ms, json.dumps(body).encode())


def append(journal: Path, segment: int, content: bytes) -> None:
    with segment_path(journal, segment).open("ab") as file:
        file.write(content)


def test_what_was_written_since_the_last_time_is_read_once(journal: Path, feeds: FeedsSeen) -> None:
    feeds.last_ms["NQ_NDX:gex_one"] = 7
    feeds.read_on()
    assert feeds.last_ms == {"NQ_NDX:gex_one": 7}
    append(journal, 1, line(10, snapshot()) + line(11, snapshot(endpoint="full")))
    feeds.read_on()
    assert feeds.last_ms == {"NQ_NDX:gex_one": 7, SPX: 10, FULL: 11}
    append(journal, 1, line(12, snapshot()))
    feeds.read_on()
    assert feeds.last_ms[SPX] == 12


def test_of_a_long_backlog_only_the_end_is_read(journal: Path, feeds: FeedsSeen) -> None:
    for segment in range(1, 5):
        append(journal, segment, line(segment, snapshot(f"T{segment}")))
    feeds.read_on()
    assert feeds.last_ms == {"T3:gex_zero": 3, "T4:gex_zero": 4}


def test_messages_are_a_feed_and_so_are_the_snapshots_in_them(journal: Path, feeds: FeedsSeen) -> None:
    append(
        journal, 1, line(10, ["flow-alerts", {"ticker": "TSLA"}], "uw") + line(11, {"url": "x"}, "gex_history_url")
    )
    feeds.read_on()
    assert feeds.last_ms == {MESSAGES: 10}
    append(journal, 1, line(12, ["gex:SPY", snapshot("SPY")], "uw"))
    feeds.read_on()
    assert feeds.last_ms == {MESSAGES: 12, "SPY:gex_zero": 12}


def test_a_line_that_is_being_written_is_read_when_it_is_whole_and_damage_is_passed_over(
    journal: Path, feeds: FeedsSeen
) -> None:
    whole = line(10, snapshot())
    append(journal, 1, b"damage\n\xff\n" + whole[:40])
    feeds.read_on()
    assert feeds.last_ms == {}
    append(journal, 1, whole[40:])
    feeds.read_on()
    assert feeds.last_ms == {SPX: 10}


def test_a_segment_that_is_archived_meanwhile_is_read_to_its_end(journal: Path, feeds: FeedsSeen) -> None:
    append(journal, 1, line(10, snapshot()))
    feeds.read_on()
    append(journal, 1, line(11, snapshot()))
    append(journal, 2, line(9, snapshot(endpoint="gex_full")))
    segment_path(journal, 1).unlink()
    feeds.read_on()
    assert feeds.last_ms == {SPX: 11, FULL: 9}


def test_a_journal_that_was_made_anew_is_read_from_its_beginning(journal: Path, feeds: FeedsSeen) -> None:
    append(journal, 5, line(10, snapshot()))
    feeds.read_on()
    segment_path(journal, 5).unlink()
    (journal / "journal.id").unlink()
    name_journal(journal)
    append(journal, 1, line(20, snapshot()))
    feeds.read_on()
    assert feeds.last_ms == {SPX: 20}


def test_what_was_told_is_remembered_and_for_how_long_something_held_is_not(tmp_path: Path) -> None:
    assert read_memory(tmp_path) == Memory()
    told = Standing(is_told=True, told_at_ms=5)
    write_memory(tmp_path, Memory({"disk": told, "loader": Standing(differs_since_ms=3)}, {SPX: 4}))
    assert read_memory(tmp_path) == Memory({"disk": told, "loader": Standing()}, {SPX: 4})
    (tmp_path / "alerts.json").write_text("{")
    assert read_memory(tmp_path) == Memory()
