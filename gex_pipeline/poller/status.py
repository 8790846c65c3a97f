"""The word a poller leaves beside the journal, so that the gateway can say how it is without asking it."""

from pathlib import Path

import msgspec


class FeedStatus(msgspec.Struct):
    """What became of one feed. Times are epoch milliseconds UTC.

    Attributes:
        polled_at_ms: when GexBot was last asked; None: not yet.
        snapshot_ms: timestamp of the newest snapshot that the gateway took; None: none yet.
        error: why the last attempt failed, None when it did not.
        paused_until_ms: when it is asked again, after an error or at the next session's opening; None: right away.
    """

    polled_at_ms: int | None = None
    snapshot_ms: int | None = None
    error: str | None = None
    paused_until_ms: int | None = None


class PollerStatus(msgspec.Struct):
    """What a poller's process said last, and when (epoch milliseconds UTC), feed by feed."""

    process: int
    at_ms: int
    feeds: dict[str, FeedStatus]


def write_status(journal_dir: Path, status: PollerStatus) -> None:
    """Replace the status; it is only worth something while both processes live, so it is not synced."""
    path = journal_dir / "poller.json"
    beside = path.with_suffix(".tmp")
    beside.write_bytes(msgspec.json.encode(status))
    beside.replace(path)


def read_status(journal_dir: Path) -> PollerStatus | None:
    """Return the last status; None when no poller ever ran here or the file cannot be read."""
    try:
        return msgspec.json.decode((journal_dir / "poller.json").read_bytes(), type=PollerStatus)
    except (OSError, msgspec.DecodeError):
        return None
