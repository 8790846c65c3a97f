"""Rows of published days, from their Parquet files: no lease is needed."""

import datetime as dt
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.queries.spans import Span
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import Version, version_of
from gex_pipeline.storage.lease import quoted

logger = logging.getLogger(__name__)

_opening = threading.Lock()


@contextmanager
def memory_cursor() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a cursor of this process's one connection without a database file."""
    with _opening:
        connection = _memory()
    cursor = connection.cursor()
    try:
        yield cursor
    finally:
        cursor.close()


@lru_cache(maxsize=1)
def _memory() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    connection.execute("SET enable_progress_bar_print = false")
    return connection


def published_feeds(settings: Settings) -> set[Feed]:
    """Return the feeds of which anything was published."""
    feeds = set()
    for folder in (settings.parquet_path / "gexbot").glob("*/*"):
        try:
            feed = Feed.parse(f"{folder.parent.name}:{folder.name}")
        except RecordError:
            continue
        if next(folder.glob("*.snapshots.parquet"), None):
            feeds.add(feed)
    return feeds


def published_days(settings: Settings, feed: Feed, table: Table = "snapshots") -> list[dt.date]:
    """Return the days of a feed that were published, in order."""
    folder = Partition(feed, dt.date.min).published(settings, table).parent
    days = []
    for path in folder.glob(f"[0-9]*.{table}.parquet"):
        try:
            days.append(dt.datetime.strptime(path.name.partition(".")[0], "%Y%m%d").replace(tzinfo=dt.UTC).date())
        except ValueError:
            continue
    return sorted(days)


def published_version(path: Path) -> tuple[Version, int] | None:
    """Return a published file's version and how many rows it has; None when it is missing or cannot be read."""
    try:
        version = version_of(path)
        return version, _rows(path, version)
    except (OSError, pa.ArrowInvalid):
        return None


@lru_cache(maxsize=4096)
def _rows(path: Path, version: Version) -> int:  # noqa: ARG001 - files of another version are counted again
    rows: int = pq.read_metadata(path).num_rows
    return rows


def read_published(path: Path, columns: tuple[str, ...], span: Span, limit: int | None = None) -> pa.Table | None:
    """Return the rows of a span by time, the first so many; None when the file cannot be read.

    Row groups outside of the span are passed over.
    """
    at_most = "" if limit is None else f" LIMIT {limit:d}"
    within = f"timestamp >= {span.start_ms:d} AND timestamp < {span.end_ms:d}"
    return _query(path, ", ".join(columns), f"WHERE {within} ORDER BY timestamp{at_most}")


def read_published_ladder(path: Path, timestamp_ms: int) -> pa.Table | None:
    """Return the strikes of one snapshot, STRIKE_COLUMNS; None when the file cannot be read."""
    columns = "timestamp, strike, gamma, oi_gamma, NULL::DOUBLE AS vanna, priors"
    return _query(path, columns, f"WHERE timestamp = {timestamp_ms:d} ORDER BY strike")


def last_published_ms(path: Path, at_ms: int) -> int | None:
    """Return the time of the last snapshot up to a moment; None without one, or when the file cannot be read."""
    found = _query(path, "max(timestamp) AS last", f"WHERE timestamp <= {at_ms:d}")
    return None if found is None else found["last"][0].as_py()


def _query(path: Path, columns: str, rest: str) -> pa.Table | None:
    try:
        with memory_cursor() as cursor:
            return cursor.sql(f"SELECT {columns} FROM read_parquet('{quoted(path)}') {rest}").to_arrow_table()
    except duckdb.Error as error:
        logger.warning("%s cannot be read: %s", path, str(error).partition("\n")[0])
        return None
