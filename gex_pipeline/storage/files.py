"""Files that appear whole or not at all."""

import ctypes
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from gex_pipeline.storage.disk import disk_errors

_TEMPORARY = ".{name}.{pid}.tmp"
# Coarser than any clock that a file system takes its times from.
_SETTLED_AFTER_NS = 100_000_000
_MOST_REMEMBERED = 1024
# What a capture that is synced meanwhile has to wait for.
_PIECE_BYTES = 1024**2
_WRITE_AND_WAIT = 1 | 2 | 4  # SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE and _WAIT_AFTER
_FAILED_WRITES = {errno.EIO, errno.ENOSPC, errno.EDQUOT}
_sync_file_range = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)  # Linux has it
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


@contextmanager
def publish(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success make it durable and rename it, on any error remove it.

    Two processes may publish the same path; the last rename wins and both files were whole.
    """
    with beside(path) as temporary:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` and remove what is there at the end, unless it was renamed.

    What a killed process left behind for the same file is removed first.

    Raises:
        DiskFullError: the disk is full.
        PermanentError: the folder may not be written.
    """
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        temporary = path.with_name(_TEMPORARY.format(name=path.name, pid=os.getpid()))
        try:
            yield temporary
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()


def write_whole(path: Path, content: bytes) -> None:
    """Publish a small file."""
    with publish(path) as temporary:
        temporary.write_bytes(content)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name; where the file system cannot, copy it. Published files are never written to."""
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


def sync(path: Path) -> None:
    """Make a file's content, or a folder's entries, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        write_back(descriptor, 0, os.fstat(descriptor).st_size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_back(descriptor: int, start: int, end: int) -> None:
    """Have the disk take these bytes of a file piece by piece, so that its queue stays short.

    A large file that is synced at once holds up every capture that is synced meanwhile. What is written so is not
    durable before the file is synced.
    """
    if _sync_file_range is None:
        return
    for place in range(start, end, _PIECE_BYTES):
        if _sync_file_range(descriptor, place, min(_PIECE_BYTES, end - place), _WRITE_AND_WAIT) != 0:
            code = ctypes.get_errno()
            if code not in _FAILED_WRITES:
                return  # this file system does not know the call
            # The kernel tells a failed write once, so the fsync that follows would not know of it.
            raise OSError(code, os.strerror(code))


class Version(NamedTuple):
    """What a file's bytes are known by: when they change so does one of these, as in `make`. Names do not count."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int

    @property
    def is_settled(self) -> bool:
        """Whether a change from now on could not leave all of them as they are."""
        return abs(time.time_ns() - self.modified_ns) > _SETTLED_AFTER_NS


def version_of(file: Path | BufferedReader) -> Version:
    """Return the version of a file's bytes right now."""
    status = os.fstat(file.fileno()) if not isinstance(file, Path) else file.stat()
    return Version(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


_digests: dict[Version, str] = {}


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex. This process reads the same bytes once, whatever their name."""
    with path.open("rb") as file:
        return sha256_of_open(file)


def sha256_of_open(file: BufferedReader) -> str:
    """Return the SHA-256 of an open file's bytes, in hex."""
    version = version_of(file)
    if (known := _digests.get(version)) is not None:
        return known
    is_settled = version.is_settled
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    if is_settled and version_of(file) == version:
        if len(_digests) == _MOST_REMEMBERED:
            _digests.clear()
        _digests[version] = digest
    return digest


def keep_aside(path: Path, *, root: Path, backups_dir: Path) -> Path | None:
    """Copy a file that is about to be replaced to `backups_dir`, under its path below `root` and its checksum.

    Returns:
        Where the copy is, or None when there was no file.
    """
    if not path.exists():
        return None
    relative = path.relative_to(root)
    kept = backups_dir / relative.with_name(f"{relative.name}.{sha256_of(path)[:12]}")
    if not kept.exists():
        with publish(kept) as temporary:
            shutil.copyfile(path, temporary)
    return kept


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of processes that died while publishing `path`, whose name may be a pattern."""
    for leftover in path.parent.glob(_TEMPORARY.format(name=path.name, pid="*")):
        pid = leftover.name.split(".")[-2]
        if pid.isdigit() and not _is_running(int(pid)):
            leftover.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
