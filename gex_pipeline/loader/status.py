"""The word a loader leaves beside the journal, so that the gateway knows its health without the database.

Moments are seconds of `time.monotonic()`: until the machine is started again all its processes share that clock, and
nobody can set it.
"""

from pathlib import Path

import msgspec

from gex_pipeline.storage.lease_waits import LeaseWaits

LOADED_TABLES = ("gex_snapshots", "gex_strikes", "universal_webhooks", "option_trades_events", "gex_history_queue")


class Loaded(msgspec.Struct):
    """What a loader did since its start.

    Attributes:
        rows: inserted, by table; an announcement counts when it changes a row of the queue, too.
        duplicates: by table, what was there already with the same key; for snapshots, with the same values.
        conflicts: snapshots that were there already with other values, which stayed.
        newest_ms: by feed, the latest timestamp (epoch ms UTC), known from loaders before this one, too.
    """

    rows: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(LOADED_TABLES, 0))
    duplicates: dict[str, int] = msgspec.field(
        default_factory=lambda: dict.fromkeys(("gex_snapshots", "option_trades_events"), 0)
    )
    conflicts: int = 0
    newest_ms: dict[str, int] = {}

    def add(self, more: "Loaded") -> None:
        """Add what one transaction did."""
        for table, count in more.rows.items():
            self.rows[table] += count
        for table, count in more.duplicates.items():
            self.duplicates[table] += count
        self.conflicts += more.conflicts
        for feed, newest_ms in more.newest_ms.items():
            self.newest_ms[feed] = max(newest_ms, self.newest_ms.get(feed, newest_ms))


class LoaderStatus(msgspec.Struct):
    """What a loader last did.

    Attributes:
        process: its process id.
        told_at: when it wrote this.
        segment: of its position; None before the position is known.
        byte_offset: of its position.
        current_at: when it last had loaded everything there was; None: never.
        error: why the last attempt failed, None when it did not.
        loaded: what it did since its start.
        waits: for the database, since its start.
    """

    process: int
    told_at: float
    segment: int | None
    byte_offset: int | None
    current_at: float | None
    error: str | None
    loaded: Loaded = msgspec.field(default_factory=Loaded)
    waits: LeaseWaits = msgspec.field(default_factory=LeaseWaits)


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
