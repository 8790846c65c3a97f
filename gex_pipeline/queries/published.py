"""Rows of published days, from their Parquet files: no lease is needed."""

import datetime as dt
import logging
import os
from bisect import bisect_left, bisect_right
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.queries.held_columns import Group, HeldColumns
from gex_pipeline.queries.rows import cut, empty_rows
from gex_pipeline.queries.spans import Span
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import Version, version_of
from gex_pipeline.storage.lease import in_memory, quoted

_HELD = HeldColumns()
_MOST_REMEMBERED = 32
_METADATA: dict[Version, pq.FileMetaData] = {}

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
            rows = _read_rows(_Open(file), columns, span, limit)
        schema = empty_rows(columns).schema
        return rows if rows.schema.equals(schema) else rows.cast(schema)
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        _warn(path, error)
        return None


def _read_rows(file: "_Open", columns: tuple[str, ...], span: Span, limit: int | None) -> pa.Table:
    """Cut the rows out of the row groups that have some of them; of a file that is not by time, out of all."""
    ends = file.group_ends
    times = file.read(range(len(ends)), ("timestamp",))["timestamp"].to_numpy()
    if np.any(times[1:] < times[:-1]):
        return cut(file.read(range(len(ends)), columns).sort_by("timestamp"), span).slice(0, limit)
    first, last = (int(place) for place in np.searchsorted(times, span))
    last = last if limit is None else min(last, first + limit)
    if first >= last:
        return empty_rows(columns)
    group, last_group = bisect_right(ends, first), bisect_left(ends, last)
    before = ends[group - 1] if group else 0
    return file.read(range(group, last_group + 1), columns).slice(first - before, last - first)


class _Open:
    """An open published file, of which what is held is not read.

    Attributes:
        group_ends: how many rows there are up to the end of each row group.
    """

    def __init__(self, file: pa.OSFile) -> None:
        self._file, self._version = file, version_of(file)
        self._metadata = _METADATA.get(self._version) or pq.read_metadata(file)
        while len(_METADATA) >= _MOST_REMEMBERED:
            _METADATA.pop(next(iter(_METADATA)), None)
        _METADATA[self._version] = self._metadata
        groups = map(self._metadata.row_group, range(self._metadata.num_row_groups))
        self.group_ends = list(accumulate(group.num_rows for group in groups))

    def read(self, groups: range, columns: tuple[str, ...]) -> pa.Table:
        """Return columns of row groups that follow each other."""
        tables = [empty_rows(columns)] if not groups else []
        for number in groups:
            group = Group(self._version, number)
            found = _HELD.find(group, columns)
            if missing := [name for name in columns if name not in found]:
                read = self._parquet.read_row_group(number, missing, use_threads=False)
                new = {name: read[name] for name in missing}
                _HELD.keep(group, new)
                found |= new
            tables.append(pa.table({name: found[name] for name in columns}))
        return pa.concat_tables(tables)

    @cached_property
    def _parquet(self) -> pq.ParquetFile:
        return pq.ParquetFile(self._file, metadata=self._metadata, pre_buffer=False)


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
