"""The loader: every journal record reaches its table once, whatever dies in between, and is kept in the archive."""

import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
import zstandard

from gex_pipeline.journal import (
    archived_path,
    encode_record,
    list_archived,
    list_segments,
    name_journal,
    segment_path,
)
from gex_pipeline.loader import loading, reading
from gex_pipeline.loader.loading import Loader
from gex_pipeline.loader.position import Position
from gex_pipeline.loader.reading import BATCH_RECORDS
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.captures import DAY, RECEIVED_MS, TRADE, counts, load, new_journal, rows, snapshot, write
from gex_pipeline_tests.processes import clean_environment


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return new_journal(tmp_path)


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
    monkeypatch.setattr(reading, "BATCH_RECORDS", 7)
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
        assert (
            zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True).read()
            == originals[segment]
        )
        assert path.stat().st_mode & 0o077 == 0
    assert list_archived(settings.journal_dir) == [1, 2, 3]
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
