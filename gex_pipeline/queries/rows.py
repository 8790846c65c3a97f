"""Tables of snapshots: cut by time, put together, written as Arrow or Parquet."""

import io
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gex_pipeline.feeds import Feed
from gex_pipeline.formats.columns import PUBLISHED_SNAPSHOTS_SCHEMA, STRIKES_SCHEMA
from gex_pipeline.queries.spans import Span

Format = Literal["json", "arrow", "parquet"]

_TYPES = {field.name: field.type for field in (*STRIKES_SCHEMA, *PUBLISHED_SNAPSHOTS_SCHEMA)} | {"json": pa.string()}


@lru_cache(maxsize=64)
def empty_rows(columns: tuple[str, ...]) -> pa.Table:
    """Return a table of these columns without rows."""
    return pa.schema([(name, _TYPES[name]) for name in columns]).empty_table()


def places(times: np.ndarray, span: Span) -> tuple[int, int]:
    """Return the number of the first row of a span, and that after its last; they are by time."""
    first, last = (int(place) for place in np.searchsorted(times, span))
    return first, max(first, last)


def merged(rows: pa.Table, others: pa.Table) -> pa.Table:
    """Return the rows and those of the others whose time they do not have, by time."""
    if not others.num_rows:
        return rows
    new = others.filter(pc.invert(pc.is_in(others["timestamp"], value_set=rows["timestamp"].combine_chunks())))
    if not new.num_rows:
        return rows
    both = pa.concat_tables([rows, new.cast(rows.schema)])
    return both.sort_by("timestamp") if rows.num_rows else both


def as_asked(rows: pa.Table, feed: Feed, columns: Iterable[str]) -> pa.Table:
    """Return these columns, the feed's name in each row where it is asked for."""
    named = {"ticker": feed.ticker, "endpoint": feed.endpoint}
    return pa.table(
        {
            name: pa.repeat(named[name], rows.num_rows) if name in named else rows[name].cast(_TYPES[name])
            for name in columns
        }
    )


def arrow_stream(rows: pa.Table) -> bytes:
    """Write rows as an Arrow IPC stream."""
    target = io.BytesIO()
    with pa.ipc.new_stream(target, rows.schema) as writer:
        writer.write_table(rows.combine_chunks())
    return target.getvalue()


def parquet_file(rows: pa.Table) -> bytes:
    """Write rows as a Parquet file."""
    target = io.BytesIO()
    pq.write_table(rows, target, compression="zstd")
    return target.getvalue()
