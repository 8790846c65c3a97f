"""Today's rows in memory, extended from the database: what pages ask for every second."""

import threading
import time
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from gex_pipeline.feeds import Feed
from gex_pipeline.queries.answer import ROW_COLUMNS, Lack
from gex_pipeline.queries.asking import SHORT_WAIT_SECONDS, WAIT_SECONDS, ask
from gex_pipeline.queries.held_json import HeldJson
from gex_pipeline.queries.rows import places
from gex_pipeline.queries.shapes import Shape
from gex_pipeline.queries.spans import Span
from gex_pipeline.queries.stored import read_stored, within
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import fetch_row
from gex_pipeline.storage.snapshots import of_feed

# Between two looks at the database.
FRESH_SECONDS = 0.5
# Rows that are so old are as good as new: an import holds the database for less, and loading takes as long.
LATE_SECONDS = 3.0
HELD_BYTES = 64 * 1024**2
# A feed that nobody asked for so long is not extended with the others any more.
ASKED_SECONDS = 10.0
MOST_CHUNKS = 64
_JSON = HeldJson()
# The import ids tell rows that were replaced.
HELD_COLUMNS = (*ROW_COLUMNS, "import_id")


@dataclass
class RecentRows:
    """What is held of a feed.

    Attributes:
        rows: its rows of the day by time, HELD_COLUMNS.
        owner: the same as long as rows are only added.
        read_at: when the database was last asked, of `time.monotonic()`.
        asked_at: when somebody last asked for them, likewise.
    """

    rows: pa.Table
    owner: object
    read_at: float
    asked_at: float

    @property
    def last_ms(self) -> int:
        """The time of the last row, 0 without any."""
        return int(self.rows["timestamp"][-1].as_py()) if self.rows.num_rows else 0

    @property
    def fingerprint(self) -> tuple[int, int]:
        """How many rows they are, and the sum of their import ids."""
        return self.rows.num_rows, pc.sum(self.rows["import_id"]).as_py() or 0

    def cut(self, shape: Shape, span: Span, limit: int) -> pa.Table:
        """Return the rows of a span, the first so many."""
        first, last = places(self.rows["timestamp"].to_numpy(), span)
        last = min(last, first + limit)
        if shape.is_json:
            return _JSON.read(self.owner, shape, first, last, lambda begin, end: self.rows.slice(begin, end - begin))
        return shape.of(self.rows.slice(first, last - first))


class Recent:
    """The rows of a day, the feeds asked longest ago giving way over HELD_BYTES."""

    def __init__(self, settings: Settings) -> None:
        """Hold nothing yet."""
        self._settings = settings
        self._day = Span(0, 0)
        self._held: dict[Feed, RecentRows] = {}
        self._extending = threading.Lock()

    def read(self, feed: Feed, day: Span) -> tuple[RecentRows | None, Lack | None]:
        """Return a feed's rows of a day, and why they may not be all; None when there is nothing to say.

        One reader at a time asks the database; meanwhile others take what is held.
        """
        held = self._find(feed, day)
        if held is not None and _age(held) < FRESH_SECONDS:
            return held, None
        lack: Lack | None = "database busy"
        if self._extending.acquire(timeout=_patience(held)):
            try:
                held = self._find(feed, day)
                if held is None or _age(held) >= FRESH_SECONDS:
                    found, lack = ask(self._settings, _patience(held), lambda each: self._extend(each, feed, day))
                    held = found or held
            finally:
                self._extending.release()
        if held is None:
            return None, lack
        return held, lack if _age(held) >= LATE_SECONDS else None

    def _find(self, feed: Feed, day: Span) -> RecentRows | None:
        held = self._held.get(feed) if day == self._day else None
        if held is not None:
            held.asked_at = time.monotonic()
        return held

    def _extend(self, connection: duckdb.DuckDBPyConnection, feed: Feed, day: Span) -> RecentRows:
        """Ask the database for what is new of a feed, and of the others that were asked for lately."""
        if day != self._day:
            self._day, self._held = day, {}
        now = time.monotonic()
        lately = [each for each, held in self._held.items() if now - held.asked_at < ASKED_SECONDS]
        for each in dict.fromkeys([feed, *lately]):
            self._held[each] = self._extended(connection, each)
        found = self._held[feed]
        self._give_way()
        return found

    def _extended(self, connection: duckdb.DuckDBPyConnection, feed: Feed) -> RecentRows:
        held = self._held.get(feed)
        # Rows that came late, or were replaced, are among those that are held already.
        if held is None or self._fingerprint(connection, feed, held.last_ms) != held.fingerprint:
            rows = read_stored(connection, "gex_snapshots", HELD_COLUMNS, feed, [self._day])
            asked_at, owner = time.monotonic() if held is None else held.asked_at, object()
        else:
            later = Span(held.last_ms + 1, self._day.end_ms)
            new = read_stored(connection, "gex_snapshots", HELD_COLUMNS, feed, [later])
            rows = pa.concat_tables([held.rows, new]) if new.num_rows else held.rows
            asked_at, owner = held.asked_at, held.owner
        if rows["timestamp"].num_chunks > MOST_CHUNKS:
            rows = rows.combine_chunks()
        return RecentRows(rows, owner, time.monotonic(), asked_at)

    def _fingerprint(self, connection: duckdb.DuckDBPyConnection, feed: Feed, last_ms: int) -> tuple[int, int]:
        row = fetch_row(
            connection,
            "SELECT count(*), coalesce(sum(import_id), 0) FROM gex_snapshots "
            f"WHERE {within(Span(self._day.start_ms, last_ms + 1))} AND {of_feed(feed)}",
        )
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def _give_way(self) -> None:
        sizes = {feed: held.rows.nbytes for feed, held in self._held.items()}
        for feed in sorted(self._held, key=lambda each: self._held[each].asked_at):
            if sum(sizes.values()) <= HELD_BYTES:
                return
            del self._held[feed], sizes[feed]


def _patience(held: RecentRows | None) -> float:
    """Return how many seconds to wait for the database, the less the better what is held will do."""
    if held is None:
        return WAIT_SECONDS
    return 0.0 if _age(held) < LATE_SECONDS else SHORT_WAIT_SECONDS


def _age(held: RecentRows) -> float:
    return time.monotonic() - held.read_at
