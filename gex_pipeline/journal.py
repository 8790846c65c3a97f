"""The journal: captures as JSON lines in numbered segments, durable before they are answered.

The gateway appends to the newest segment only and opens a new one at every start, so a segment with a successor
never changes again. A record is known by its segment and byte offset, which is what makes loading exactly-once.
"""

import io
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import msgspec
import zstandard

from gex_pipeline.storage.files import write_whole

Kind = Literal["gex", "uw", "gex_history_url"]

_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")


class _Line(msgspec.Struct):
    received_at: int
    kind: Kind
    crc32: int
    body: msgspec.Raw


_decoder = msgspec.json.Decoder(_Line)


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One capture.

    Attributes:
        offset: where its line begins in the segment, in bytes.
        end: where the next line begins.
        received_at_ms: epoch milliseconds, UTC.
        kind: the route it came in by.
        body: the JSON text that was posted, line breaks between tokens turned into blanks.
    """

    offset: int
    end: int
    received_at_ms: int
    kind: Kind
    body: bytes


@dataclass(frozen=True, slots=True)
class DamagedLine:
    """A line of a segment that is no longer what was written."""

    offset: int
    end: int
    reason: str
    content: bytes


def encode_record(kind: Kind, received_at_ms: int, body: bytes) -> bytes:
    """Return the line for one capture. `body` must be valid JSON: line breaks can then only stand between tokens."""
    flat = body.translate(_LINE_BREAKS) if b"\n" in body or b"\r" in body else body
    flat = flat.strip(b" \t")  # as the reader's decoder gives it back
    head = b'{"received_at":%d,"kind":"%b","crc32":%d,"body":' % (received_at_ms, kind.encode(), zlib.crc32(flat))
    return b"%b%b}\n" % (head, flat)


def segment_path(journal_dir: Path, segment: int) -> Path:
    """Return the path of a segment."""
    return journal_dir / f"{segment:08d}.jsonl"


def list_segments(journal_dir: Path) -> list[int]:
    """Return the numbers of the segments that are not archived yet, oldest first."""
    return sorted(int(path.stem) for path in journal_dir.glob("*.jsonl") if path.stem.isdigit())


def journal_id(journal_dir: Path) -> str | None:
    """Return the name this folder was given when it was first written; None when that has not happened yet.

    Segment numbers begin anew in a new folder, so a position only means something together with this name.
    """
    try:
        return (journal_dir / "journal.id").read_text().strip()
    except FileNotFoundError:
        return None


def name_journal(journal_dir: Path) -> None:
    """Give a new folder its name."""
    if journal_id(journal_dir) is None:
        write_whole(journal_dir / "journal.id", uuid.uuid4().hex[:12].encode())


def list_archived(journal_dir: Path) -> list[int]:
    """Return the numbers of the segments that were loaded and compressed, oldest first."""
    return sorted(int(path.name.split(".")[0]) for path in (journal_dir / "archive").glob("[0-9]*.jsonl.zst"))


def archived_path(journal_dir: Path, segment: int) -> Path:
    """Return where a loaded segment is kept, compressed."""
    return journal_dir / "archive" / f"{segment:08d}.jsonl.zst"


def read_segment(path: Path, offset: int, *, is_closed: bool) -> Iterator[JournalRecord | DamagedLine]:
    """Read a segment, compressed or not, from a byte offset to its end.

    A last line without its line end is still being written while the segment is open; in a closed one it is what
    a dying process left, was never acknowledged, and comes out as damaged.
    """
    with _open(path) as file:
        skip = offset
        while skip and (skipped := len(file.read(min(skip, 1 << 20)))):
            skip -= skipped
        for line in file:
            if line.endswith(b"\n"):
                yield _read_line(line, offset)
            elif is_closed:
                yield DamagedLine(
                    offset, offset + len(line), "torn: the writer stopped in the middle of this line", line
                )
            offset += len(line)


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".zst":
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(path.open("rb")))
    return path.open("rb")


def _read_line(line: bytes, offset: int) -> JournalRecord | DamagedLine:
    end = offset + len(line)
    try:
        fields = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return DamagedLine(offset, end, f"damaged: {error}", line)
    body = bytes(fields.body)
    if zlib.crc32(body) != fields.crc32:
        return DamagedLine(offset, end, "damaged: the checksum does not match", line)
    return JournalRecord(offset, end, fields.received_at, fields.kind, body)
