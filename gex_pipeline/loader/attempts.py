"""What a loader is at work on. It stays behind when the process dies of it, so that the next one closes in on it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import msgspec

from gex_pipeline.loader.position import Position

# A process may also be killed by chance. Alone and over and over, it is the record.
FATAL_DEATHS = 3
FEW_RECORDS = 32

_THIS_PROCESS = uuid.uuid4().hex


class Attempt(msgspec.Struct, frozen=True):
    """A run of records that a loader transforms or inserts.

    Attributes:
        begin: byte offset in the segment.
        end: byte offset behind the last record.
        deaths: loaders that died at work on exactly this.
        process: whose attempt it is.
    """

    journal: str
    segment: int
    begin: int
    end: int
    records: int
    deaths: int = 0
    process: str = _THIS_PROCESS

    @property
    def is_fatal(self) -> bool:
        """Whether it is one record that no loader survives."""
        return self.records == 1 and self.deaths >= FATAL_DEATHS

    def holds(self, position: Position) -> bool:
        """Tell whether the record at a position is one of these."""
        return self.segment == position.segment and self.begin <= position.byte_offset < self.end


@contextmanager
def at_work(journal_dir: Path, attempt: Attempt) -> Iterator[None]:
    """Leave word of an attempt for the length of a block, and for longer when the process does not survive it."""
    path = _path(journal_dir)
    path.write_bytes(msgspec.json.encode(attempt))
    try:
        yield
    except (MemoryError, duckdb.OutOfMemoryException):
        raise  # the process ends with it
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)


def take_left_behind(journal_dir: Path, journal: str) -> Attempt | None:
    """Return the attempt of which an earlier process died, with that death counted, and forget it on the disk."""
    path = _path(journal_dir)
    try:
        left = msgspec.json.decode(path.read_bytes(), type=Attempt)
    except (OSError, msgspec.DecodeError):
        return None
    if left.process == _THIS_PROCESS:
        return None
    path.unlink(missing_ok=True)
    if left.journal != journal:
        return None
    return msgspec.structs.replace(left, deaths=left.deaths + 1, process=_THIS_PROCESS)


def fewer(records: int) -> int:
    """Return how many records to try at once after so many failed."""
    return FEW_RECORDS if records > FEW_RECORDS else 1


def _path(journal_dir: Path) -> Path:
    return journal_dir / "loader.attempt"
