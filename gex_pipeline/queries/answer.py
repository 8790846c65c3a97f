"""What a reader is answered: the rows, where they came from, and whether they are all there are."""

from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from gex_pipeline.errors import GexError
from gex_pipeline.feeds import Feed
from gex_pipeline.formats.columns import PUBLISHED_SNAPSHOTS_SCHEMA, STRIKES_SCHEMA, SnapshotColumns
from gex_pipeline.formats.gexbot import parse_snapshot
from gex_pipeline.queries.shapes import FEED_COLUMNS

Source = Literal["parquet", "database", "memory"]
Lack = Literal["database busy", "database damaged", "database missing", "database not adopted"]

ROW_COLUMNS = tuple(name for name in PUBLISHED_SNAPSHOTS_SCHEMA.names if name not in FEED_COLUMNS)
STRIKE_COLUMNS = tuple(name for name in STRIKES_SCHEMA.names if name not in FEED_COLUMNS)


class UnknownFeedError(GexError):
    """Nothing of a feed was recorded; `known` are those of which something was."""

    def __init__(self, feed: Feed, known: set[Feed]) -> None:
        """Keep the feeds that are known."""
        super().__init__(f"nothing of {feed.key} was recorded")
        self.known = known


@dataclass(frozen=True)
class Captured:
    """A snapshot as it was posted: its own time (epoch ms UTC), `live` or `uw`, its JSON text."""

    timestamp_ms: int
    source: str
    body: bytes

    def row(self, feed: Feed) -> pa.Table:
        """Return it as the row that it will be, ROW_COLUMNS."""
        snapshots, _ = self._tables(feed)
        return snapshots.append_column("source", pa.array([self.source])).select(ROW_COLUMNS)

    def strikes(self, feed: Feed) -> pa.Table:
        """Return its ladder as the rows that it will be, STRIKE_COLUMNS."""
        _, strikes = self._tables(feed)
        return strikes.select(STRIKE_COLUMNS)

    def _tables(self, feed: Feed) -> tuple[pa.Table, pa.Table]:
        columns = SnapshotColumns()
        columns.append(parse_snapshot(self.body), feed)
        return columns.tables()


@dataclass
class Answer:
    """Rows of a feed by time.

    Attributes:
        rows: in the shape that was asked for.
        sources: where they came from, and who was asked whether there are more.
        lack: why the database could not be asked for some of it; None when all is there.
        next_start_ms: the first moment after these rows when there are more.
        timestamp_ms: of the snapshot whose strikes these are; None when there is none.
    """

    rows: pa.Table
    sources: set[Source] = field(default_factory=set)
    lack: Lack | None = None
    next_start_ms: int | None = None
    timestamp_ms: int | None = None

    def limit(self, limit: int) -> None:
        """Leave the first so many rows, and no moment of which there is more."""
        if self.rows.num_rows <= limit:
            return
        times = self.rows["timestamp"].to_numpy()
        self.next_start_ms = int(times[limit])
        # A user's own file may have a moment twice.
        before = int(times.searchsorted(self.next_start_ms))
        self.rows = self.rows.slice(0, before or limit)
