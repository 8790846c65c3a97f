"""Rows of the database, on a connection that somebody holds for a moment."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from gex_pipeline.feeds import Feed
from gex_pipeline.queries.spans import Span, day_of
from gex_pipeline.storage.lease import fetch_row
from gex_pipeline.storage.snapshots import of_feed, rows_sql

HOUR_MS = 3_600_000


def within(span: Span) -> str:
    """Return a condition that the rows of a span meet."""
    return f"timestamp >= {span.start_ms:d} AND timestamp < {span.end_ms:d}"


def read_stored(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: tuple[str, ...],
    feed: Feed,
    spans: Sequence[Span],
    limit: int | None = None,
) -> pa.Table:
    """Return a feed's rows in these spans by time, at most so many."""
    inside = " OR ".join(f"({within(span)})" for span in spans) or "false"
    at_most = "" if limit is None else f" LIMIT {limit:d}"
    sql = f"{rows_sql(connection, table, columns)} WHERE ({inside}) AND {of_feed(feed, table)}"
    return connection.sql(f"{sql} ORDER BY timestamp{at_most}").to_arrow_table()


def count_days(connection: duckdb.DuckDBPyConnection, feed: Feed, span: Span) -> Counter[dt.date]:
    """Count the stored snapshots of a feed by New York day."""
    counts: Counter[dt.date] = Counter()
    # New York is whole hours from UTC.
    found = connection.execute(
        f"SELECT timestamp // {HOUR_MS}, count(*) FROM gex_snapshots "
        f"WHERE {within(span)} AND {of_feed(feed)} GROUP BY 1"
    ).fetchall()
    for hour, rows in found:
        counts[day_of(hour * HOUR_MS)] += rows
    return counts


def count_strikes(connection: duckdb.DuckDBPyConnection, feed: Feed, span: Span) -> tuple[int, int]:
    """Count the stored strikes of a feed in a span, and those of them that have a vanna."""
    row = fetch_row(
        connection,
        f"SELECT count(*), count(vanna) FROM gex_strikes WHERE {within(span)} AND {of_feed(feed, 'gex_strikes')}",
    )
    return (row[0], row[1]) if row else (0, 0)


def newest_stored_ms(connection: duckdb.DuckDBPyConnection, feed: Feed, before_ms: int | None = None) -> int | None:
    """Return the time of a feed's last stored snapshot, of the last one before a moment when one is given."""
    earlier = "" if before_ms is None else f" AND timestamp < {before_ms:d}"
    row = fetch_row(connection, f"SELECT max(timestamp) FROM gex_snapshots WHERE {of_feed(feed)}{earlier}")
    return row[0] if row else None


def stored_feeds(connection: duckdb.DuckDBPyConnection) -> set[Feed]:
    """Return the feeds of which a snapshot is stored."""
    found = connection.execute("SELECT DISTINCT ticker, coalesce(endpoint, 'gex_zero') FROM gex_snapshots").fetchall()
    return {Feed(ticker, endpoint) for ticker, endpoint in found}
