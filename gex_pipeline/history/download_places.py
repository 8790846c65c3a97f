"""How many history files are fetched at a time, by all processes that share a data folder."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

PLACES = 3
PAUSE_SECONDS = 0.1


@contextmanager
def download_place(folder: Path) -> Iterator[None]:
    """Wait for a place among those who fetch files into a folder; who dies gives its place back."""
    folder.mkdir(parents=True, exist_ok=True)
    locks = [FileLock(folder / f".download-{number}.lock") for number in range(PLACES)]
    while (taken := next(filter(_is_taken, locks), None)) is None:
        time.sleep(PAUSE_SECONDS)
    try:
        yield
    finally:
        taken.release()


def _is_taken(lock: FileLock) -> bool:
    """Take a place if it is free."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
