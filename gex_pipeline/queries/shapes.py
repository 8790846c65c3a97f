"""What readers want of each row: its values, or the row as JSON."""

from typing import NamedTuple

import pyarrow as pa

from gex_pipeline.feeds import Feed
from gex_pipeline.queries.json_rows import json_lines
from gex_pipeline.queries.rows import as_asked, empty_rows

# Every row of a feed has its name in common.
FEED_COLUMNS = ("ticker", "endpoint")


class Shape(NamedTuple):
    """Columns of a feed's rows, `timestamp` among them; written as JSON they are one column, beside the time."""

    feed: Feed
    names: tuple[str, ...]
    is_json: bool = False

    @property
    def stored(self) -> tuple[str, ...]:
        """The columns that are read for it."""
        return tuple(name for name in self.names if name not in FEED_COLUMNS)

    def empty(self) -> pa.Table:
        """Return no rows."""
        return empty_rows(("timestamp", "json") if self.is_json else self.names)

    def of(self, rows: pa.Table) -> pa.Table:
        """Return rows, which have the columns that are read for it, as they are wanted."""
        asked = as_asked(rows, self.feed, self.names)
        if not self.is_json:
            return asked
        return pa.table({"timestamp": asked["timestamp"], "json": json_lines(asked)})
