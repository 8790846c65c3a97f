"""Copying a large file that is in use: cloned where the file system can, else block by block."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from gex_pipeline.errors import BackupError
from gex_pipeline.storage.disk import require_room
from gex_pipeline.storage.files import write_back

# Called with the bytes that were copied and those there are.
ByteProgress = Callable[[int, int], None]

MAKE_ROOM = "free space there, or remove backups that are not needed"
_BLOCK_BYTES = 8 * 1024**2
_FICLONE = 0x40049409
_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Copied:
    """What was copied.

    Attributes:
        size_bytes: of the source.
        digests: the SHA-256 of each block of 8 MiB as it was read from the source; None when the file was cloned,
            and so never read.
    """

    size_bytes: int
    digests: tuple[bytes, ...] | None


def clone_or_copy(source: Path, target: Path, progress: ByteProgress, *, earlier: Copied | None = None) -> Copied:
    """Make `target`, readable by its owner only, what `source` holds now; it is not synced.

    A file that others write may come out with blocks of different moments. Copy it so first, then again while
    nobody writes it: that takes no longer than reading it.

    Args:
        source: the file to read.
        target: the file to write; created when missing.
        progress: told how far it is.
        earlier: what the first copying to this target returned; only blocks that differ since are written.

    Raises:
        DiskFullError: there is too little room for the copy.
        OSError: reading or writing failed; the target may be half there.
    """
    with source.open("rb", buffering=0) as reading, _opened_for_writing(target) as writing:
        size_bytes = os.fstat(reading.fileno()).st_size
        if (earlier is None or earlier.digests is None) and _clone(reading.fileno(), writing):
            progress(size_bytes, size_bytes)
            return Copied(size_bytes, None)
        if earlier is None:
            require_room(target.parent, size_bytes, f"the copy in {target.parent}")
        known = (earlier.digests if earlier else None) or ()
        digests = _copy_blocks(reading.fileno(), writing, size_bytes, known, progress)
        os.ftruncate(writing, size_bytes)
    return Copied(size_bytes, digests)


def read_back(path: Path, copied: Copied) -> str:
    """Read a synced copy from the disk, not from memory, and return its SHA-256 in hex.

    Raises:
        BackupError: it is not what was read from the source.
    """
    whole, digests = hashlib.sha256(), []
    with path.open("rb", buffering=0) as file, ThreadPoolExecutor(1, thread_name_prefix="hash") as hashing:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while block := file.read(_BLOCK_BYTES):
            hashed = hashing.submit(whole.update, block)
            digests.append(hashlib.sha256(block).digest())
            hashed.result()
    if copied.digests is not None and copied.digests != tuple(digests):
        raise BackupError(f"{path} is not what was written to it: the disk or the memory of this machine is failing")
    return whole.hexdigest()


@contextmanager
def _opened_for_writing(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _clone(source: int, target: int) -> bool:
    """Share the source's blocks with the target; False where the file system cannot."""
    try:
        os.ftruncate(target, 0)
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copy_blocks(
    source: int, target: int, size_bytes: int, known: tuple[bytes, ...], progress: ByteProgress
) -> tuple[bytes, ...]:
    """Write the blocks whose digest is not the known one, and return the digests of all."""

    def copy(block: tuple[int, bytes | None]) -> bytes:
        offset, digest_before = block
        content = _read_all(source, offset, min(_BLOCK_BYTES, size_bytes - offset))
        digest = hashlib.sha256(content).digest()
        if digest != digest_before:
            _write_all(target, offset, content)
            write_back(target, offset, offset + len(content))
        return digest

    offsets = range(0, size_bytes, _BLOCK_BYTES)
    blocks = zip_longest(offsets, known[: len(offsets)])
    digests = []
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="copy") as copying:
        for digest in copying.map(copy, blocks):
            digests.append(digest)
            progress(min(len(digests) * _BLOCK_BYTES, size_bytes), size_bytes)
    return tuple(digests)


def _read_all(descriptor: int, offset: int, size_bytes: int) -> bytes:
    content = os.pread(descriptor, size_bytes, offset)
    while len(content) < size_bytes:
        more = os.pread(descriptor, size_bytes - len(content), offset + len(content))
        if not more:
            break  # it was cut while it was read, which the copying under a lease puts right
        content += more
    return content


def _write_all(descriptor: int, offset: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
