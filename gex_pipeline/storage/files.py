"""Files that appear whole or not at all."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gex_pipeline.storage.disk import disk_errors

_TEMPORARY = ".{name}.{pid}.tmp"


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
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
