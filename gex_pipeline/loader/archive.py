"""Archived segments: zstd, in frames of whole lines, so that damage costs the frame it is in and nothing else."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import zstandard

from gex_pipeline.journal import DamagedLine, JournalRecord, read_lines

FRAME_BYTES = 256 * 1024
# No segment is larger; a frame that says it is has a damaged head.
MAX_FRAME_BYTES = 128 * 1024**2
_FRAME_HEAD = re.compile(re.escape(zstandard.FRAME_HEADER))

# A frame's size in the segment, 1 where nobody knows it any more, and its lines, None when they cannot be read.
_Frame = tuple[int, bytes | None]


def compress_segment(segment: IO[bytes], archive: IO[bytes]) -> None:
    """Compress a segment. Each frame has a checksum; the last one is empty, so that a file that was cut is known."""
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    while lines := segment.readlines(FRAME_BYTES):
        archive.write(compressor.compress(b"".join(lines)))
    archive.write(compressor.compress(b""))


def read_segment(path: Path, offset: int, *, is_closed: bool) -> Iterator[JournalRecord | DamagedLine]:
    """Read a segment, archived or not, from a byte offset to its end; `is_closed` as for `read_lines`."""
    if path.suffix == ".zst":
        yield from read_archive(path, offset)
        return
    with path.open("rb") as file:
        file.seek(offset)
        yield from read_lines(file, offset, is_closed=is_closed)


def read_archive(path: Path, offset: int) -> Iterator[JournalRecord | DamagedLine]:
    """Read an archived segment from a byte offset of the segment to its end."""
    place = 0
    for size_bytes, lines in _frames(path.read_bytes()):
        end = place + size_bytes
        start = max(place, offset)
        if start < end:
            if lines is None:
                yield DamagedLine(start, end, f"damaged: a part of {path} cannot be decompressed", b"")
            else:
                yield from read_lines(io.BytesIO(lines[start - place :]), start, is_closed=True)
        place = end


def _frames(archive: bytes) -> Iterator[_Frame]:
    """Decompress frame by frame, going on behind one that is damaged."""
    starts = [found.start() for found in _FRAME_HEAD.finditer(archive)]
    ends = [*starts[1:], len(archive), len(archive)]
    place, is_complete = 0, False
    for number, start in enumerate(starts):
        if start < place:
            continue
        if start > place:
            yield 1, None
        declared_bytes = _declared_bytes(archive[start : start + 18])
        # The bytes that begin a frame may by chance stand in one as well, which is then longer.
        found = _decompress(archive[start : ends[number]]) or _decompress(archive[start : ends[number + 1]])
        if found is None:
            yield declared_bytes or 1, None
            place = ends[number]
        else:
            lines, taken_bytes = found
            yield len(lines), lines
            place = start + taken_bytes
        # Earlier versions wrote one frame that does not declare its size, and nothing behind it.
        is_complete = found is not None and not declared_bytes
    if place < len(archive) or not is_complete:
        yield 1, None


def _declared_bytes(head: bytes) -> int | None:
    """Return the size that a frame has when it is decompressed, None when its head does not say it."""
    try:
        size_bytes = zstandard.frame_content_size(head)
    except zstandard.ZstdError:
        return None
    return size_bytes if 0 <= size_bytes <= MAX_FRAME_BYTES else None


def _decompress(frame: bytes) -> tuple[bytes, int] | None:
    """Return what a frame holds and how many bytes it has itself; None when it is damaged or cut."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        lines = decompressor.decompress(frame)
    except zstandard.ZstdError:
        return None
    return (lines, len(frame) - len(decompressor.unused_data)) if decompressor.eof else None
