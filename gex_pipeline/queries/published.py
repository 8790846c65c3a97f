"""Rows of published days, from their Parquet files: no lease is needed."""

import datetime as dt
import logging
import os
from functools import lru_cache
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.queries.held_columns import HeldColumns
from gex_pipeline.queries.rows import cut, empty_rows
from gex_pipeline.queries.spans import Span
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import Version, version_of
from gex_pipeline.storage.lease import in_memory, quoted

_HELD = HeldColumns()

logger = logging.getLogger(__name__)


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

    `timestamp` is one of the columns.
    """
    try:
        with pa.OSFile(os.fspath(path)) as file:
            return _read_rows(file, columns, span, limit).cast(empty_rows(columns).schema)
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        _warn(path, error)
        return None


def _read_rows(file: pa.OSFile, columns: tuple[str, ...], span: Span, limit: int | None) -> pa.Table:
    """Cut the rows out of columns that are held, or else read."""
    version = version_of(file)
    found = _HELD.find(version, columns)
    if len(found) < len(columns):
        parquet = pq.ParquetFile(file, pre_buffer=False)
        if parquet.num_row_groups > 1:
            return _read_groups(parquet, columns, span, limit)
        missing = [name for name in columns if name not in found]
        read = parquet.read(missing, use_threads=False)
        new = {name: read[name] for name in missing}
        _HELD.keep(version, new)
        found |= new
    rows = pa.table({name: found[name] for name in columns})
    return cut(rows if _is_by_time(rows["timestamp"].to_numpy()) else rows.sort_by("timestamp"), span).slice(0, limit)


def _read_groups(file: pq.ParquetFile, columns: tuple[str, ...], span: Span, limit: int | None) -> pa.Table:
    """Read the row groups that have some of the rows; of a file that is not by time all of them."""
    times = file.read(["timestamp"], use_threads=False)["timestamp"].to_numpy()
    if not _is_by_time(times):
        return cut(file.read(columns, use_threads=False).sort_by("timestamp"), span).slice(0, limit)
    first, last = np.searchsorted(times, span)
    last = max(first, last if limit is None else min(last, first + limit))
    groups, before, end = list[int](), 0, 0
    for group in range(file.num_row_groups):
        start, end = end, end + file.metadata.row_group(group).num_rows
        if start < last and end > first:
            before = before if groups else start
            groups.append(group)
    return file.read_row_groups(groups, columns, use_threads=False).slice(first - before, last - first)


def _is_by_time(times: npt.NDArray[np.int64]) -> bool:
    return bool(np.all(times[1:] >= times[:-1]))


def read_published_ladder(path: Path, timestamp_ms: int) -> pa.Table | None:
    """Return the strikes of one snapshot, STRIKE_COLUMNS; None when the file cannot be read."""
    # DuckDB passes over the values of other snapshots in a row group, Arrow would read them all.
    columns = "timestamp, strike, gamma, oi_gamma, NULL::DOUBLE AS vanna, priors"
    moment = f"WHERE timestamp = {timestamp_ms:d} ORDER BY strike"
    try:
        with in_memory() as connection:
            return connection.sql(f"SELECT {columns} FROM read_parquet('{quoted(path)}') {moment}").to_arrow_table()
    except duckdb.Error as error:
        _warn(path, error)
        return None


def last_published_ms(path: Path, at_ms: int) -> int | None:
    """Return the time of the last snapshot up to a moment; None without one, or when the file cannot be read."""
    rows = read_published(path, ("timestamp",), Span(0, at_ms + 1))
    return int(rows["timestamp"][-1].as_py()) if rows is not None and rows.num_rows else None


def _warn(path: Path, error: Exception) -> None:
    logger.warning("%s cannot be read: %s", path, str(error).partition("\n")[0])
