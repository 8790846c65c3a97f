"""The next batch of a journal, from its segments and its archive: bounded in records and in bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gex_pipeline.errors import PermanentError
from gex_pipeline.journal import (
    DamagedLine,
    JournalRecord,
    archived_path,
    list_archived,
    list_segments,
    segment_path,
)
from gex_pipeline.loader.archive import read_segment
from gex_pipeline.loader.position import Position

BATCH_RECORDS = 1000
# Of journal lines; what they become takes some ten times as much memory. A larger line is a batch of its own.
BATCH_BYTES = 8 * 1024**2

Records = list[JournalRecord | DamagedLine]


@dataclass(frozen=True)
class Piece:
    """A run of lines of one segment.

    Attributes:
        end: the position once it is loaded.
        is_limited: it was ended by a limit, so that more may be there already.
        is_missing: stands for segments that are gone, from `start` to `end`.
    """

    start: Position
    end: Position
    records: Records
    is_limited: bool = False
    is_missing: bool = False

    def first(self, records: int) -> "Piece":
        """Return the first so many lines of it."""
        if len(self.records) <= records:
            return self
        end = Position(self.end.segment, self.records[records - 1].end)
        return Piece(self.start, end, self.records[:records], is_limited=True)

    def followed_by(self, later: "Piece") -> "Piece":
        """Return this piece and the one behind it in the same segment as one."""
        return Piece(self.start, later.end, self.records + later.records, later.is_limited)


def read_next(journal_dir: Path, position: Position) -> Piece | None:
    """Return what comes next, None when everything is read; a segment is left only when it has a successor.

    Archived segments are read as well, so a database that was lost or replaced by an older one is filled again.

    Raises:
        PermanentError: the journal ends before the position.
    """
    expected, offset = max(position.segment, 1), position.byte_offset
    paths = _segments_from(journal_dir, expected)
    for segment in sorted(paths):
        if segment > expected:
            return _missing(journal_dir, Position(expected, offset), segment)
        lines = read_segment(paths[segment], offset, is_closed=segment != max(paths))
        records, is_limited = _take(lines, offset)
        if records:
            end = Position(segment, records[-1].end)
            return Piece(Position(segment, offset), end, records, is_limited)
        expected, offset = segment + 1, 0
    return None


def read_behind(journal_dir: Path, piece: Piece) -> Piece | None:
    """Return what was captured since a piece was read, as far as its batch has room; None when there is nothing."""
    if piece.is_limited or piece.is_missing:
        return None
    later = read_next(journal_dir, piece.end)
    if later is None or later.is_missing or later.start.segment != piece.end.segment:
        return None
    room = later.records[: BATCH_RECORDS - len(piece.records)]
    fitting = sum(record.end - piece.start.byte_offset <= BATCH_BYTES for record in room)
    return later.first(fitting) if fitting else None


def _segments_from(journal_dir: Path, first: int) -> dict[int, Path]:
    # Listed in this order, a segment that is archived meanwhile is in at least one of the two.
    segments = list_segments(journal_dir)
    archived = list_archived(journal_dir) if first not in segments else []
    known = {segment: archived_path(journal_dir, segment) for segment in archived}
    known |= {segment: segment_path(journal_dir, segment) for segment in segments}
    if known and max(known) < first:
        raise PermanentError(
            f"the journal {journal_dir} ends with segment {max(known)} and {first} was loaded already: is it an "
            "older copy? Without its file journal.id it gets a new name at the next start, and is then loaded whole"
        )
    return {segment: path for segment, path in known.items() if segment >= first}


def _take(lines: Iterator[JournalRecord | DamagedLine], offset: int) -> tuple[Records, bool]:
    records: Records = []
    for line in lines:
        if records and line.end - offset > BATCH_BYTES:
            return records, True
        records.append(line)
        if len(records) == BATCH_RECORDS:
            return records, True
    return records, False


def _missing(journal_dir: Path, start: Position, next_segment: int) -> Piece | None:
    gone = range(start.segment, next_segment)
    if any(place(journal_dir, each).exists() for each in gone for place in (segment_path, archived_path)):
        return None  # made while the folder was listed
    named = f"segment {gone[0]}" if len(gone) == 1 else f"segments {gone[0]} to {gone[-1]}"
    since = f" from byte {start.byte_offset} on" if start.byte_offset else ""
    reason = f"missing: {named} of the journal, with all that was captured there{since}"
    end = Position(next_segment, 0)
    return Piece(start, end, [DamagedLine(start.byte_offset, start.byte_offset, reason, b"")], is_missing=True)
