"""A journal that is no longer what was written: what is whole before and after is loaded, the damage reported."""

import io
import random
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import msgspec
import pytest

from gex_pipeline.errors import PermanentError
from gex_pipeline.journal import (
    DamagedLine,
    JournalRecord,
    archived_path,
    encode_record,
    list_archived,
    read_lines,
    segment_path,
)
from gex_pipeline.loader import archive, reading
from gex_pipeline.loader.loading import Loader
from gex_pipeline.loader.position import Position
from gex_pipeline.loader.reading import read_next
from gex_pipeline.settings import Settings
from gex_pipeline_tests.captures import RECEIVED_MS, load, new_journal, quarantined, rows, write

RECORDS = 40
Damage = Callable[[bytes], bytes]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return new_journal(tmp_path)


def line(number: int) -> bytes:
    return encode_record("uw", RECEIVED_MS + number, b'["alerts",{"number":%d}]' % number)


def lines(*numbers: int) -> bytes:
    return b"".join(map(line, numbers))


def keep(settings: Settings, content: bytes, segment: int = 1) -> None:
    segment_path(settings.journal_dir, segment).write_bytes(content)


def loaded(settings: Settings) -> list[int]:
    """Return the numbers that are in the database, in the order they were loaded, each time they are."""
    found = rows(settings, "SELECT (payload->>'number')::INT FROM universal_webhooks ORDER BY rowid")
    return [number for (number,) in found]


def lineage(settings: Settings) -> list[tuple[str, str, str]]:
    """Return segment, status and errors of the segments that have any."""
    return rows(
        settings,
        "SELECT parse_filename(source_file), status, errors FROM data_lineage WHERE errors IS NOT NULL ORDER BY 1",
    )


@pytest.mark.parametrize(
    ("damaged", "lost", "reason"),
    [
        (lambda text: text.replace(b'"number":1}', b'"number":3}'), [1], "damaged: the checksum does not match"),
        (lambda text: text.replace(b"%d" % (RECEIVED_MS + 1), b"%d" % (RECEIVED_MS + 9)), [1], "the checksum"),
        (lambda text: text.replace(line(1), line(1)[:30]), [1], "damaged: "),
        (lambda text: text.replace(line(1), b"\0" * 5000 + line(1)[-20:]), [1], "damaged: "),
        (lambda text: text.replace(line(1), b"\0" * 5000), [1], "damaged: "),
        (lambda text: text.replace(line(0), line(0)[:-1] + b"\x4a"), [], "damaged: "),
        (lambda text: text.replace(line(0), line(0)[:-1]), [], None),
        (lambda text: text[: len(line(0)) + 5] + text[len(lines(0, 1)) + 25 :], [1, 2], "damaged: "),
    ],
    ids=[
        "a value",
        "a time",
        "cut",
        "zeros",
        "zeros and a line end",
        "a line end flipped",
        "and lost",
        "a piece out",
    ],
)
@pytest.mark.parametrize("is_open", [True, False])
def test_what_stands_before_and_after_damage_is_loaded_and_the_damage_is_kept(
    settings: Settings, damaged: Damage, lost: list[int], reason: str | None, is_open: bool
) -> None:
    keep(settings, damaged(lines(0, 1, 2, 3)))
    if not is_open:
        keep(settings, lines(4), segment=2)
    load(settings)
    assert loaded(settings) == [number for number in range(4 if is_open else 5) if number not in lost]
    assert all(reason is not None and reason in bad["reason"] for bad in quarantined(settings))
    if reason is not None:
        [(name, status, errors)] = lineage(settings)
        assert (name, status) == ("00000001.jsonl", "imported")
        assert str(settings.quarantine_dir) in errors


def test_a_bit_that_flips_anywhere_costs_at_most_the_record_it_is_in(settings: Settings) -> None:
    whole = lines(*range(3))
    dice = random.Random(7)
    for segment in range(1, 151):
        place = dice.randrange(len(whole))
        flipped = whole[:place] + bytes([whole[place] ^ (1 << dice.randrange(8))]) + whole[place + 1 :]
        keep(settings, flipped, segment)
        found = read_next(settings.journal_dir, Position(segment, 0))
        assert found is not None
        bodies = [each.body for each in found.records if not isinstance(each, DamagedLine)]
        expected = [b'["alerts",{"number":%d}]' % number for number in range(3)]
        assert set(bodies) <= set(expected), whole[place]
        assert len(bodies) >= 2, whole[place]
        segment_path(settings.journal_dir, segment).unlink()


def test_a_line_that_never_ends_is_read_in_pieces(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gex_pipeline.journal.MAX_LINE_BYTES", 4096)
    keep(settings, line(0) + b"\0" * 20_000 + lines(1, 2))
    load(settings)
    assert loaded(settings) == [0, 1, 2]
    assert max(len(bad["record"]) for bad in quarantined(settings)) <= 4096
    assert sum(len(bad["record"]) for bad in quarantined(settings)) == 20_000


def test_the_torn_end_of_a_whole_record_is_loaded(settings: Settings) -> None:
    keep(settings, line(0) + line(1)[:-1])
    keep(settings, line(2), segment=2)
    load(settings)
    assert loaded(settings) == [0, 1, 2]
    assert not quarantined(settings)


class Growing(io.BytesIO):
    """A segment to which the gateway writes the rest of a line as soon as its beginning has been read."""

    def readline(self, size: int | None = -1, /) -> bytes:
        found = super().readline(size)
        if found == line(1)[:20]:
            place = self.tell()
            self.write(line(1)[20:])
            self.seek(place)
        return found


def test_a_record_of_which_the_rest_is_written_while_it_is_read_is_no_damage() -> None:
    segment = Growing(line(0) + line(1)[:20])
    [first] = read_lines(segment, 0, is_closed=False)
    segment.seek(first.end)
    [second] = read_lines(segment, first.end, is_closed=False)
    assert isinstance(second, JournalRecord)


def test_segments_that_are_missing_are_reported_once_and_the_others_are_loaded(settings: Settings) -> None:
    for segment in (1, 2, 5, 6):
        keep(settings, lines(segment), segment)
    load(settings)
    load(settings)
    assert loaded(settings) == [1, 2, 5, 6]
    [bad] = quarantined(settings)
    assert bad["reason"] == "missing: segments 3 to 4 of the journal, with all that was captured there"
    [(name, status, errors)] = lineage(settings)
    assert (name, status) == ("00000003.jsonl", "failed")
    assert "missing: segments 3 to 4" in errors


def test_a_segment_that_goes_missing_while_it_is_loaded_is_reported_from_there_on(settings: Settings) -> None:
    keep(settings, lines(0, 1))
    loader = load(settings)
    segment_path(settings.journal_dir, 1).unlink()
    assert loader.load_next() == 0
    keep(settings, lines(2), segment=2)
    while loader.load_next():
        pass
    assert loaded(settings) == [0, 1, 2]
    [bad] = quarantined(settings)
    assert bad["reason"].endswith(f"with all that was captured there from byte {len(lines(0, 1))} on")


def test_a_journal_that_ends_before_the_position_is_refused(settings: Settings) -> None:
    for segment in (1, 2):
        keep(settings, lines(segment), segment)
    loader = load(settings)
    segment_path(settings.journal_dir, 2).unlink()
    with pytest.raises(PermanentError, match="ends with segment 1 and 2 was loaded already"):
        loader.load_next()


def test_the_bytes_of_a_batch_are_bounded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BATCH_BYTES", 3 * len(line(1)))
    large = encode_record("uw", RECEIVED_MS, msgspec.json.encode(["alerts", {"number": 8, "text": "x" * 5000}]))
    keep(settings, lines(*range(8)) + large + lines(9))
    loader = Loader(settings)
    batches = []
    while records := loader.load_next():
        batches.append((records, loader.is_behind))
    assert batches == [(3, True), (3, True), (2, True), (1, True), (1, False)]
    assert loaded(settings) == list(range(10))


# Damaged archives are read when a database is filled again


@pytest.fixture
def archived(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A journal of which the first segment is archived in many frames and whose database is gone."""
    monkeypatch.setattr(archive, "FRAME_BYTES", 4 * len(line(10)))
    keep(settings, lines(*range(10, 10 + RECORDS)))
    write(settings, "uw", ["alerts", {"number": 99}], segment=2)
    load(settings).archive_loaded()
    assert list_archived(settings.journal_dir) == [1]
    settings.database_path.unlink()
    return settings


def test_an_archive_gives_back_what_was_put_into_it_from_any_place_on(archived: Settings) -> None:
    starts = list(accumulate((len(line(number)) for number in range(10, 10 + RECORDS)), initial=0))
    for number, start in enumerate(starts[:-1]):
        found = read_next(archived.journal_dir, Position(1, start))
        assert found is not None
        assert [each.offset for each in found.records] == starts[number:-1]


@pytest.mark.parametrize("place", ["head", "content", "end"])
def test_damage_in_an_archive_costs_the_frame_it_is_in(archived: Settings, place: str) -> None:
    path = archived_path(archived.journal_dir, 1)
    content = bytearray(path.read_bytes())
    lost = [frame for _, frame in archive._frames(bytes(content))][2]
    third = [found.start() for found in archive._FRAME_HEAD.finditer(content)][2:4]
    content[{"head": third[0], "content": sum(third) // 2, "end": third[1] - 1}[place]] ^= 0x10
    path.write_bytes(content)
    load(archived)
    load(archived)
    assert lost is not None
    kept = [number for number in range(10, 10 + RECORDS) if line(number) not in lost]
    assert RECORDS - 8 < len(kept) < RECORDS
    assert loaded(archived) == [*kept, 99]
    assert {bad["reason"] for bad in quarantined(archived)} == {f"damaged: a part of {path} cannot be decompressed"}
    assert [name for name, _, _ in lineage(archived)] == ["00000001.jsonl"]


@pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
def test_an_archive_that_was_cut_is_loaded_up_to_there_and_reported(archived: Settings, left: float) -> None:
    path = archived_path(archived.journal_dir, 1)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * left)])
    load(archived)
    found = loaded(archived)
    assert found == [*range(10, 10 + len(found) - 1), 99]
    assert len(found) > RECORDS * left - 4
    assert "cannot be decompressed" in quarantined(archived)[0]["reason"]


def test_an_archive_in_one_frame_as_earlier_versions_made_it_is_read(archived: Settings) -> None:
    import zstandard

    path = archived_path(archived.journal_dir, 1)
    with path.open("wb") as target, segment_path(archived.journal_dir, 2).open("rb") as source:
        zstandard.ZstdCompressor(level=3).copy_stream(source, target)
    load(archived)
    assert loaded(archived) == [99, 99]
    assert not quarantined(archived)
