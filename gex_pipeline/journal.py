"""The journal: captures as JSON lines in numbered segments, durable before they are answered.

The gateway appends to the newest segment only and opens a new one at every start, so a segment with a successor
never changes again. A record is known by its segment and byte offset, which is what makes loading exactly-once.
"""

import json
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import msgspec

from gex_pipeline.storage.files import write_whole

Kind = Literal["gex", "uw", "gex_history_url"]

# The gateway takes bodies of up to 8 MiB; what goes on for longer without a line end is damage.
MAX_LINE_BYTES = 16 * 1024**2

_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")


class _Line(msgspec.Struct):
    received_at: int
    kind: Kind
    crc32: int
    body: msgspec.Raw


_decoder = msgspec.json.Decoder(_Line)
_HEAD = b'{"received_at":'
_scanner = json.JSONDecoder(strict=False)


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
    """A stretch of a segment that is no longer what was written, `content` empty where it cannot even be read."""

    offset: int
    end: int
    reason: str
    content: bytes


def encode_record(kind: Kind, received_at_ms: int, body: bytes) -> bytes:
    """Return the line for one capture. `body` must be valid JSON: line breaks can then only stand between tokens."""
    flat = body.translate(_LINE_BREAKS) if b"\n" in body or b"\r" in body else body
    flat = flat.strip(b" \t")  # as the reader's decoder gives it back
    name = kind.encode()
    checksum = _checksum(received_at_ms, name, flat)
    return b'{"received_at":%d,"kind":"%b","crc32":%d,"body":%b}\n' % (received_at_ms, name, checksum, flat)


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


def read_lines(file: IO[bytes], offset: int, *, is_closed: bool) -> Iterator[JournalRecord | DamagedLine]:
    """Read a segment from the file's place, which is this byte offset of the segment, to the end.

    A last line without its line end is still being written while the segment is open; in a closed one it is what
    a dying process left, was never acknowledged, and comes out as damaged.
    """
    while line := file.readline(MAX_LINE_BYTES):
        if line.endswith(b"\n") or len(line) == MAX_LINE_BYTES:
            yield from _read_line(line, offset)
        else:
            if is_closed:
                yield from _whole_records(line, offset, "torn: the writer stopped in the middle of this line")
            return  # what a writer adds from here on belongs to this line
        offset += len(line)


def _read_line(line: bytes, offset: int) -> Iterator[JournalRecord | DamagedLine]:
    """Read one line: one record, or where it is damaged what is left of it."""
    try:
        yield _read_record(line, offset, offset + len(line))
    except ValueError as error:
        yield from _whole_records(line, offset, f"damaged: {error}")


def _whole_records(line: bytes, offset: int, reason: str) -> Iterator[JournalRecord | DamagedLine]:
    """Find the records that are whole in a damaged line, such as those between which the line end was lost."""
    text = line.decode("latin-1")  # one character for each byte, so that places are byte offsets
    done = 0
    start = line.find(_HEAD)
    while start >= 0:
        try:
            _, end = _scanner.raw_decode(text, start)
            if line[end:] == b"\n":
                end += 1
            record = _read_record(line[start:end], offset + start, offset + end)
        except (ValueError, RecursionError):
            start = line.find(_HEAD, start + 1)
            continue
        if start > done:
            yield DamagedLine(offset + done, offset + start, reason, line[done:start])
        yield record
        done = end
        start = line.find(_HEAD, done)
    if done < len(line):
        yield DamagedLine(offset + done, offset + len(line), reason, line[done:])


def _read_record(line: bytes, offset: int, end: int) -> JournalRecord:
    """Decode one line.

    Raises:
        ValueError: it is not what was written.
    """
    try:
        fields = _decoder.decode(line)
    except RecursionError as error:
        raise ValueError(str(error)) from error
    body = bytes(fields.body)
    # Earlier versions left what stands before the body out of the checksum.
    if fields.crc32 not in {_checksum(fields.received_at, fields.kind.encode(), body), zlib.crc32(body)}:
        raise ValueError("the checksum does not match")
    return JournalRecord(offset, end, fields.received_at, fields.kind, body)


def _checksum(received_at_ms: int, kind: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(b"%d%b" % (received_at_ms, kind)))
