"""The word a loader leaves beside the journal, so that the gateway knows its health without the database.

Moments are seconds of `time.monotonic()`: until the machine is started again all its processes share that clock, and
nobody can set it.
"""

from pathlib import Path

import msgspec


class LoaderStatus(msgspec.Struct):
    """What a loader last did.

    Attributes:
        process: its process id.
        told_at: when it wrote this.
        segment: of its position; None before the position is known.
        byte_offset: of its position.
        current_at: when it last had loaded everything there was; None: never.
        error: why the last attempt failed, None when it did not.
    """

    process: int
    told_at: float
    segment: int | None
    byte_offset: int | None
    current_at: float | None
    error: str | None


def write_status(journal_dir: Path, status: LoaderStatus) -> None:
    """Replace the status; it is only worth something while both processes live, so it is not synced."""
    path = journal_dir / "loader.json"
    beside = path.with_suffix(".tmp")
    beside.write_bytes(msgspec.json.encode(status))
    beside.replace(path)


def read_status(journal_dir: Path) -> LoaderStatus | None:
    """Return the last status; None when no loader ever ran here or the file cannot be read."""
    try:
        return msgspec.json.decode((journal_dir / "loader.json").read_bytes(), type=LoaderStatus)
    except (OSError, msgspec.DecodeError):
        return None
