"""Which rows a reader is given: published days, the database, and what there is without it."""

import shutil
from pathlib import Path

import pytest

from gex_pipeline.errors import TransientError
from gex_pipeline.feeds import Feed
from gex_pipeline.queries import held_json, past, recent
from gex_pipeline.queries.answer import ROW_COLUMNS, Answer, Captured, UnknownFeedError
from gex_pipeline.queries.json_rows import json_array, json_pieces
from gex_pipeline.queries.reading import SnapshotReader
from gex_pipeline.queries.shapes import Shape
from gex_pipeline.queries.spans import END_MS, Span, day_span
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.queries.recorded import (
    EVER,
    FEED,
    FRIDAY,
    MIDNIGHT,
    MONDAY,
    OPENING,
    THURSDAY,
    TODAY,
    publish,
    recorded,
    snapshot,
    stored,
)
from gex_pipeline_tests.records import capture_live
from gex_pipeline_tests.test_database_held import held


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return recorded(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_json, "BLOCK_ROWS", 4)


@pytest.fixture
def settings(original: Settings, tmp_path: Path) -> Settings:
    """A copy of what was recorded."""
    shutil.copytree(original.data_dir, tmp_path / "data")
    return load_settings(data_dir=tmp_path / "data", backup_max_age_hours=0)


def read(
    reader: SnapshotReader, span: Span | None = EVER, limit: int = 1000, captured: Captured | None = None
) -> Answer:
    """Return what is read, which is the same as values and as JSON."""
    start_ms, end_ms = span or (None, None)
    answer = reader.read(Shape(FEED, ROW_COLUMNS), start_ms, end_ms, limit, captured)
    written = reader.read(Shape(FEED, ROW_COLUMNS, is_json=True), start_ms, end_ms, limit, captured)
    assert json_array(written.rows["json"]) == b"".join(json_pieces(answer.rows))
    assert (written.lack, written.next_start_ms) == (answer.lack, answer.next_start_ms)
    return answer


def seconds(answer: Answer) -> list[int]:
    return [int(moment) // 1000 for moment in answer.rows["timestamp"].to_pylist()]


def test_every_row_is_found_once_and_as_it_is_stored(settings: Settings) -> None:
    answer = read(SnapshotReader(settings))
    assert answer.rows.to_pylist() == stored(settings, ROW_COLUMNS)
    assert (answer.rows.num_rows, answer.sources, answer.lack) == (40, {"parquet", "database"}, None)


def test_pages_together_are_all_rows(settings: Settings) -> None:
    reader, found, start_ms = SnapshotReader(settings), list[int](), EVER.start_ms
    while start_ms:
        page = read(reader, Span(start_ms, EVER.end_ms), limit=7)
        assert page.rows.num_rows <= 7
        found += seconds(page)
        start_ms = page.next_start_ms or 0
    assert found == seconds(read(reader))


def test_a_published_day_needs_no_database_once_it_was_compared(settings: Settings) -> None:
    reader = SnapshotReader(settings)
    friday = day_span(FRIDAY)
    assert read(reader, friday).sources == {"parquet", "database"}
    settings.database_path.unlink()
    again = read(reader, friday)
    assert (seconds(again), again.lack) == ([OPENING[FRIDAY] + second for second in range(10)], None)


def test_what_the_database_has_more_of_a_published_day_is_there_too(settings: Settings) -> None:
    capture_live(settings, snapshot(OPENING[FRIDAY] + 5400), snapshot(OPENING[FRIDAY] - 60))
    answer = read(SnapshotReader(settings), day_span(FRIDAY))
    assert answer.rows.to_pylist() == stored(settings, ROW_COLUMNS, day_span(FRIDAY))
    assert answer.rows.num_rows == 12


def test_what_was_published_and_the_database_lost_is_there_too(settings: Settings) -> None:
    before = read(SnapshotReader(settings)).rows.to_pylist()
    publish(settings, MONDAY)
    with lease(settings.database_path, purpose="lose") as connection:
        connection.execute(
            "DELETE FROM gex_snapshots WHERE timestamp % 2000 = 0 AND timestamp < ?", [MIDNIGHT * 1000]
        )
    capture_live(settings, snapshot(OPENING[FRIDAY] + 5400))
    found = read(SnapshotReader(settings)).rows.to_pylist()
    assert [row for row in found if row["timestamp"] != (OPENING[FRIDAY] + 5400) * 1000] == before
    assert len(found) == 41


def test_a_published_file_that_cannot_be_read_leaves_the_day_to_the_database(settings: Settings) -> None:
    folder = settings.parquet_path / "gexbot" / "SPX" / "gex_zero"
    (folder / "20251113.snapshots.parquet").write_bytes(b"PAR1 and then nothing")
    whole = (folder / "20251114.snapshots.parquet").read_bytes()
    (folder / "20251114.snapshots.parquet").write_bytes(whole[:4] + bytes(200) + whole[204:])
    assert read(SnapshotReader(settings)).rows.to_pylist() == stored(settings, ROW_COLUMNS)


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "first", "last"),
    [
        (None, None, MIDNIGHT, MIDNIGHT + 9),
        (OPENING[MONDAY] * 1000, None, OPENING[MONDAY], MIDNIGHT + 9),
        (None, (OPENING[FRIDAY] + 5) * 1000, OPENING[FRIDAY], OPENING[FRIDAY] + 4),
        ((OPENING[FRIDAY] + 2) * 1000, (OPENING[FRIDAY] + 5) * 1000 + 1, OPENING[FRIDAY] + 2, OPENING[FRIDAY] + 5),
    ],
)
def test_the_start_is_in_the_span_and_the_end_is_not(
    settings: Settings, start_ms: int | None, end_ms: int | None, first: int, last: int
) -> None:
    captured = Captured((MIDNIGHT + 9) * 1000, "live", b"{}")
    found = seconds(SnapshotReader(settings).read(Shape(FEED, ROW_COLUMNS), start_ms, end_ms, 1000, captured))
    assert (found[0], found[-1]) == (first, last)


def test_the_last_day_is_that_of_the_last_file_when_nothing_was_captured(settings: Settings) -> None:
    assert seconds(read(SnapshotReader(settings), None))[0] == OPENING[FRIDAY]


LIVE = Captured((MIDNIGHT + 30) * 1000, "live", b'{"timestamp":%d,"ticker":"SPX","spot":9.5}' % (MIDNIGHT + 30))


@pytest.mark.parametrize("lack", ["database busy", "database missing", "database damaged", "database not adopted"])
def test_without_the_database_there_is_what_was_published_and_the_newest_capture(
    settings: Settings, lack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gex_pipeline.queries.past.WAIT_SECONDS", 0.2)
    monkeypatch.setattr("gex_pipeline.queries.recent.WAIT_SECONDS", 0.2)
    database = settings.database_path
    if lack == "database damaged":
        database.write_bytes(b"not a database" * 1000)
    elif lack != "database busy":
        database.unlink()
    if lack == "database not adopted":
        with lease(database, purpose="make") as connection:
            connection.execute("CREATE TABLE gex_snapshots (timestamp BIGINT, ticker VARCHAR)")
    if lack == "database busy":
        with held(database):
            answer = read(SnapshotReader(settings), captured=LIVE)
    else:
        answer = read(SnapshotReader(settings), captured=LIVE)
    published = [OPENING[day] + second for day in (THURSDAY, FRIDAY) for second in range(10)]
    assert seconds(answer) == [*published, MIDNIGHT + 30]
    assert (answer.sources, answer.lack) == ({"parquet", "memory"}, lack)
    assert answer.rows["spot_price"][-1].as_py() == 9.5


def test_a_capture_that_is_not_loaded_yet_has_its_ladder(settings: Settings) -> None:
    body = b'{"timestamp":%d,"ticker":"SPX","spot":9.5,"strikes":[[6730,1.5]]}'
    reader = SnapshotReader(settings)
    for second in (MIDNIGHT + 30, MIDNIGHT + 4):
        captured = Captured(second * 1000, "live", body % second)
        answer = reader.read_ladder(FEED, END_MS - 1, captured)
        assert answer.timestamp_ms == max(second, MIDNIGHT + 9) * 1000
        assert (answer.rows["strike"].to_pylist() == [6730]) == (second > MIDNIGHT + 9)


def test_today_s_rows_are_held_and_extended(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "FRESH_SECONDS", 0.0)
    reader, today = SnapshotReader(settings), day_span(TODAY)
    first = read(reader, today)
    assert seconds(first) == [MIDNIGHT + second for second in range(10)]
    with held(settings.database_path):
        meanwhile = read(reader, today, captured=LIVE)
        assert (meanwhile.rows, meanwhile.lack) == (first.rows, None)
        monkeypatch.setattr(recent, "LATE_SECONDS", 0.0)
        late = read(reader, today, captured=LIVE)
        assert (seconds(late)[-1], late.lack) == (MIDNIGHT + 30, "database busy")
    capture_live(settings, snapshot(MIDNIGHT + 20), snapshot(MIDNIGHT + 15))
    monkeypatch.setattr(recent, "LATE_SECONDS", 60.0)
    assert seconds(read(reader, today))[10:] == [MIDNIGHT + 15, MIDNIGHT + 20]
    capture_live(settings, snapshot(MIDNIGHT + 12), snapshot(MIDNIGHT + 25))
    assert seconds(read(reader, today))[10:] == [MIDNIGHT + 12, MIDNIGHT + 15, MIDNIGHT + 20, MIDNIGHT + 25]
    assert read(reader, today).rows.to_pylist() == stored(settings, ROW_COLUMNS, today)


def test_what_is_held_of_today_is_bounded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "HELD_BYTES", 10)
    reader = SnapshotReader(settings)
    for _ in range(2):
        assert len(seconds(read(reader, day_span(TODAY)))) == 10
    assert reader._recent._held == {}


def test_a_day_is_compared_again_after_a_while(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = SnapshotReader(settings)
    assert read(reader, day_span(FRIDAY)).rows.num_rows == 10
    capture_live(settings, snapshot(OPENING[FRIDAY] + 5400))
    monkeypatch.setattr(past, "CHECKED_SECONDS", 0.0)
    assert read(reader, day_span(FRIDAY)).rows.num_rows == 11


def test_an_unknown_feed_and_one_that_may_be_there_are_told_apart(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gex_pipeline.queries.reading.WAIT_SECONDS", 0.2)
    monkeypatch.setattr("gex_pipeline.queries.recent.WAIT_SECONDS", 0.2)
    reader, other = SnapshotReader(settings), Feed("NDX", "gex_zero")
    with pytest.raises(UnknownFeedError) as unknown:
        reader.read(Shape(other, ROW_COLUMNS), *day_span(TODAY), 10, None)
    assert unknown.value.known == {FEED}
    with held(settings.database_path), pytest.raises(TransientError, match="database busy"):
        reader.read(Shape(other, ROW_COLUMNS), *day_span(TODAY), 10, None)
    settings.database_path.unlink()
    with pytest.raises(UnknownFeedError):
        reader.read(Shape(other, ROW_COLUMNS), *day_span(TODAY), 10, None)
