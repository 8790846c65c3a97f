"""What only the database and the quarantine know, as it was last found: whoever asks is not kept waiting for them."""

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gex_pipeline.errors import GexError
from gex_pipeline.settings import Settings

if TYPE_CHECKING:
    from gex_pipeline.storage.lineage import ImportTotals

REFRESH_SECONDS = 15.0
FIRST_SECONDS = 1.0  # between looks for a database that is not there yet
LEASE_SECONDS = 2.0
CHUNK_BYTES = 1024**2
QUARANTINES = {"live": "live", "history": "gexbot"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stored:
    """What one look into the database found.

    Attributes:
        found_at: when, of `time.monotonic()`.
        queue: announced history files, by status.
        imports: attempts with history files, by outcome.
    """

    found_at: float
    queue: dict[str, int]
    imports: "list[ImportTotals]"


class Figures:
    """The last known figures.

    Attributes:
        stored: of the database; None before it was read for the first time.
        quarantined: records in quarantine, by where they came from; empty before the first look.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.stored: Stored | None = None
        self.quarantined: dict[str, int] = {}
        self._counted: dict[Path, tuple[int, int]] = {}
        self._looked_at: float | None = None
        self._look: asyncio.Task[None] | None = None

    def refresh(self, settings: Settings) -> None:
        """Begin to look again, in a thread, when the last look is over and old; return at once."""
        now = time.monotonic()
        pause = REFRESH_SECONDS if self.stored else FIRST_SECONDS
        if self._looked_at is not None and now - self._looked_at < pause:
            return
        if self._look is None or self._look.done():
            self._looked_at = now
            self._look = asyncio.create_task(asyncio.to_thread(self._find, settings))

    def _find(self, settings: Settings) -> None:
        try:
            self.quarantined = {
                source: self._count_records(settings.quarantine_dir / folder)
                for source, folder in QUARANTINES.items()
            }
            self.stored = _read(settings.database_path) or self.stored
        except (GexError, OSError) as error:
            logger.debug("the figures stay as they were: %s", error)

    def _count_records(self, folder: Path) -> int:
        """Count the lines of all files in a folder, reading only those that are new or have grown."""
        total = 0
        for path in folder.rglob("*.jsonl"):
            size_bytes = path.stat().st_size
            if path not in self._counted or self._counted[path][0] != size_bytes:
                with path.open("rb") as file:
                    lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(CHUNK_BYTES), b""))
                self._counted[path] = size_bytes, lines
            total += self._counted[path][1]
        return total


def _read(database: Path) -> Stored | None:
    """Read the database under a short lease; None while it, or a table, does not exist yet."""
    # DuckDB is loaded here, on first use: no capture ever waits for it.
    from gex_pipeline.storage.lineage import total_imports  # noqa: PLC0415
    from gex_pipeline.storage.looks import look  # noqa: PLC0415
    from gex_pipeline.storage.request_queue import count_by_status  # noqa: PLC0415
    from gex_pipeline.storage.schema import has_table  # noqa: PLC0415

    if not database.exists():
        return None
    with look(database, purpose="read figures", timeout_seconds=LEASE_SECONDS) as connection:
        if not (has_table(connection, "gex_history_queue") and has_table(connection, "data_lineage")):
            return None
        return Stored(time.monotonic(), count_by_status(connection), total_imports(connection))
