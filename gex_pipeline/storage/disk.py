"""The disk: how much room must stay on it, and the errors of one that is full or may not be written."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gex_pipeline.errors import DiskFullError, PermanentError

# What a backup or an import must leave free, so that it never takes the last room from the journal.
RESERVE_BYTES = 256 * 1024**2

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
# DuckDB allows itself what is free on the disk for its temporary files, and says this when it is not enough.
_NO_ROOM_FOR_TEMPORARY_FILES = "max_temp_directory_size"


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Name the place where the disk is full or may not be written; every other error passes.

    What the block wrote is its own to take back: it is around a transaction, or around files that appear whole.

    Raises:
        DiskFullError: there is no room, which may change.
        PermanentError: it may not be written.
    """
    try:
        yield
    except Exception as error:
        if _is_one_of(error, _FULL) or _NO_ROOM_FOR_TEMPORARY_FILES in str(error):
            raise DiskFullError(
                f"the disk of {place} is full: free space there and try again; what was there is as it was"
            ) from error
        if _is_one_of(error, _NOT_WRITABLE):
            reason = next(os.strerror(number) for number in _NOT_WRITABLE if _is_one_of(error, (number,)))
            raise PermanentError(
                f"{getattr(error, 'filename', None) or place} cannot be written: {reason}"
            ) from error
        raise


def require_room(folder: Path, size_bytes: int, what: str) -> None:
    """Make sure that the disk of a folder takes so many bytes and still has some to spare.

    Raises:
        DiskFullError: it does not; `what` needs them.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < size_bytes + RESERVE_BYTES:
        raise DiskFullError(
            f"{what} needs {size_bytes:,} bytes and {RESERVE_BYTES:,} to spare, and {free_bytes:,} bytes are free"
        )


def _is_one_of(error: Exception, numbers: tuple[int, ...]) -> bool:
    if isinstance(error, OSError):
        return error.errno in numbers
    # DuckDB passes on the system's words only. It is known by name: the gateway, which publishes files too, must not
    # wait for it to be imported.
    names = {kind.__name__ for kind in type(error).__mro__ if "duckdb" in kind.__module__}
    return (
        "Error" in names and "DataError" not in names and any(os.strerror(number) in str(error) for number in numbers)
    )
