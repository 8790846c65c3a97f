"""Tables of snapshots: cut by time, put together, written in the format that was asked for."""

import io
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gex_pipeline.feeds import Feed
from gex_pipeline.formats.columns import PUBLISHED_SNAPSHOTS_SCHEMA, STRIKES_SCHEMA
from gex_pipeline.queries.published import memory_cursor
from gex_pipeline.queries.spans import Span

Format = Literal["json", "arrow", "parquet"]

_TYPES = {field.name: field.type for field in (*STRIKES_SCHEMA, *PUBLISHED_SNAPSHOTS_SCHEMA)}
JSON_PIECE_ROWS = 5_000
_JSON_COLUMNS = frozenset({"max_priors", "max_change", "extra"})


def empty_rows(columns: Iterable[str]) -> pa.Table:
    """Return a table of these columns without rows."""
    return pa.schema([(name, _TYPES[name]) for name in columns]).empty_table()


def cut(rows: pa.Table, span: Span) -> pa.Table:
    """Return the rows of a span; they are by time."""
    first, last = np.searchsorted(rows["timestamp"].to_numpy(), span)
    return rows.slice(first, max(last - first, 0))


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


def json_pieces(rows: pa.Table) -> Iterator[bytes]:
    """Write rows as a JSON array of objects, piece by piece. What is JSON in a row is written as that.

    DuckDB does it without holding Python up: that is what captures want of it, and it is the fastest here as well.
    """
    before = b"["
    for start in range(0, rows.num_rows, JSON_PIECE_ROWS):
        yield before + _json_objects(_finite(rows.slice(start, JSON_PIECE_ROWS)))
        before = b","
    yield b"]" if rows.num_rows else b"[]"


def _json_objects(rows: pa.Table) -> bytes:
    chosen = ", ".join(
        f"coalesce(TRY_CAST({name} AS JSON), to_json({name})) AS {name}" if name in _JSON_COLUMNS else name
        for name in rows.column_names
    )
    with memory_cursor() as cursor:
        found = cursor.sql(
            f"SELECT CAST(to_json(one) AS VARCHAR) FROM (SELECT {chosen} FROM rows) one"
        ).to_arrow_table()
    texts = found[0].combine_chunks()
    [joined] = pc.binary_join(pa.ListArray.from_arrays([0, len(texts)], texts), ",")
    encoded: bytes = joined.as_buffer().to_pybytes()
    return encoded


def _finite(rows: pa.Table) -> pa.Table:
    """Make null of what JSON has no number for; the rows of a user's own file may have it."""
    for index, column in enumerate(rows.schema):
        if pa.types.is_floating(column.type) and not pc.all(pc.is_finite(rows[index])).as_py():
            values = pc.if_else(pc.is_finite(rows[index]), rows[index], None)
            rows = rows.set_column(index, column.name, values)
    return rows
