"""The newest snapshot of each feed, in memory: as it was posted, and read only when somebody asks."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import Feed
from gex_pipeline.formats.plain_snapshot import check_snapshot
from gex_pipeline.formats.unusual_whales import parse_message, snapshot_payload
from gex_pipeline.journal import (
    JournalRecord,
    archived_path,
    list_archived,
    list_segments,
    segment_path,
)
from gex_pipeline.loader.archive import read_segment

HELD_BYTES = 64 * 1024**2
REBUILD_BYTES = 64 * 1024**2
REBUILD_SECONDS = 2.0
AHEAD_MS = 24 * 3600 * 1000  # one wrong clock must not hold a feed's place for years

Source = Literal["live", "uw"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Held:
    """A snapshot as it was posted.

    Attributes:
        timestamp_ms: its own time, epoch milliseconds UTC.
        received_at_ms: when it came, epoch milliseconds UTC.
        source: `live` by /gex, `uw` inside a message.
        body: its JSON text.
        shown: what readers are answered, once somebody asked.
    """

    timestamp_ms: int
    received_at_ms: int
    source: Source
    body: bytes
    shown: bytes | None = None


class LatestSnapshots:
    """The newest snapshot by feed, those longest without a newer one giving way over HELD_BYTES.

    Attributes:
        on_newer: called with every snapshot that is held from now on; it must return at once.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.on_newer: Callable[[Feed, Held], None] | None = None
        self._held: dict[Feed, Held] = {}
        self._bytes = 0

    def offer(self, feed: Feed, new: Held) -> None:
        """Hold a snapshot when it is newer than the one that is held; of two with the same time the first stays."""
        old = self._held.get(feed)
        is_newer = old is None or new.timestamp_ms > old.timestamp_ms
        if is_newer and new.timestamp_ms <= new.received_at_ms + AHEAD_MS:
            self._hold(feed, new)
            if self.on_newer is not None:
                self.on_newer(feed, new)

    def find(self, ticker: str | None, endpoint: str | None) -> list[tuple[Feed, Held]]:
        """Return the feeds with this ticker and endpoint, None meaning any, sorted by name."""
        return sorted(
            (
                (feed, held)
                for feed, held in self._held.items()
                if ticker in {None, feed.ticker} and endpoint in {None, feed.endpoint}
            ),
            key=lambda each: each[0],
        )

    def rebuild(self, journal_dir: Path) -> None:
        """Read the newest segments of a journal that nobody writes now.

        It ends after the segment in which REBUILD_BYTES or REBUILD_SECONDS are reached.
        """
        started, read_bytes = time.monotonic(), 0
        written = list_segments(journal_dir)
        for segment in sorted({*written, *list_archived(journal_dir)}, reverse=True):
            path = segment_path(journal_dir, segment) if segment in written else archived_path(journal_dir, segment)
            found = LatestSnapshots()
            try:
                for record in read_segment(path, 0, is_closed=True):
                    read_bytes += record.end - record.offset
                    if isinstance(record, JournalRecord):
                        found._offer_recorded(record)
            except OSError as error:
                logger.warning("%s cannot be read for the newest snapshots: %s", path.name, error)
            for feed, older in found._held.items():
                # Segments are read backwards, so of two with the same time the one found later came first.
                if feed not in self._held or older.timestamp_ms >= self._held[feed].timestamp_ms:
                    self._hold(feed, older)
            if read_bytes >= REBUILD_BYTES or time.monotonic() - started >= REBUILD_SECONDS:
                return

    def _offer_recorded(self, record: JournalRecord) -> None:
        try:
            if record.kind == "gex":
                body: bytes | None = record.body
            else:
                body = snapshot_payload(parse_message(record.body)) if record.kind == "uw" else None
            if body is not None:
                source: Source = "live" if record.kind == "gex" else "uw"
                feed, timestamp_ms = check_snapshot(body)
                self.offer(feed, Held(timestamp_ms, record.received_at_ms, source, body))
        except RecordError:
            return  # the loader says what is wrong with it

    def _hold(self, feed: Feed, new: Held) -> None:
        if (old := self._held.pop(feed, None)) is not None:
            self._bytes -= len(old.body)
        self._held[feed] = new
        self._bytes += len(new.body)
        while self._bytes > HELD_BYTES:
            self._bytes -= len(self._held.pop(next(iter(self._held))).body)
