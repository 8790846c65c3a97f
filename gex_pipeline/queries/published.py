"""Rows of published days, from their Parquet files: no lease is needed."""

import datetime as dt
import logging
import os
from bisect import bisect_left, bisect_right
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.queries.held import Held
from gex_pipeline.queries.held_json import HeldJson
from gex_pipeline.queries.rows import empty_rows, places
from gex_pipeline.queries.shapes import Shape
from gex_pipeline.queries.spans import Span
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import Version, version_of
from gex_pipeline.storage.lease import in_memory, quoted

HELD_BYTES = 32 * 1024**2


class Group(NamedTuple):
    """A row group of a file: of none a part of a column can be read alone."""

    version: Version
    number: int


_MOST_REMEMBERED = 32
_METADATA: dict[Version, pq.FileMetaData] = {}

_COLUMNS: Held[tuple[Group, str], pa.ChunkedArray] = Held(HELD_BYTES)
_JSON = HeldJson()

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


def read_published(path: Path, shape: Shape, span: Span, limit: int | None = None) -> pa.Table | None:
    """Return the rows of a span by time, the first so many; None when the file cannot be read."""
    try:
        with pa.OSFile(os.fspath(path)) as file:
            return _read_rows(_Open(file), shape, span, limit)
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        _warn(path, error)
        return None


def _read_rows(file: "_Open", shape: Shape, span: Span, limit: int | None) -> pa.Table:
    """Cut the rows out of the row groups that have some of them; of a file that is not by time, out of all."""
    times = file.read(("timestamp",), 0, file.rows)["timestamp"].to_numpy()
    is_by_time = not np.any(times[1:] < times[:-1])
    first, last = places(times if is_by_time else np.sort(times), span)
    last = last if limit is None else min(last, first + limit)
    if not is_by_time:
        return shape.of(file.read(shape.stored, 0, file.rows).sort_by("timestamp").slice(first, last - first))
    if shape.is_json:
        return _JSON.read(file.version, shape, first, last, lambda begin, end: file.read(shape.stored, begin, end))
    return shape.of(file.read(shape.stored, first, last))


class _Open:
    """An open published file, of which what is held is not read.

    Attributes:
        version: of the file.
        rows: how many it has.
    """

    def __init__(self, file: pa.OSFile) -> None:
        self._file, self.version = file, version_of(file)
        self._metadata = _METADATA.get(self.version) or pq.read_metadata(file)
        while len(_METADATA) >= _MOST_REMEMBERED:
            _METADATA.pop(next(iter(_METADATA)), None)
        _METADATA[self.version] = self._metadata
        self.rows = self._metadata.num_rows
        groups = map(self._metadata.row_group, range(self._metadata.num_row_groups))
        self._group_ends = list(accumulate(group.num_rows for group in groups))

    def read(self, columns: tuple[str, ...], first: int, last: int) -> pa.Table:
        """Return columns of the rows from one number to another, fewer where the file ends."""
        if first >= min(last, self.rows):
            return empty_rows(columns)
        ends = self._group_ends
        group, last_group = bisect_right(ends, first), bisect_left(ends, min(last, self.rows))
        before = ends[group - 1] if group else 0
        read = pa.concat_tables(self._read_group(number, columns) for number in range(group, last_group + 1))
        return read.slice(first - before, last - first)

    def _read_group(self, number: int, columns: tuple[str, ...]) -> pa.Table:
        group = Group(self.version, number)
        found = _COLUMNS.find((group, name) for name in columns)
        if missing := [name for name in columns if (group, name) not in found]:
            read = self._parquet.read_row_group(number, missing, use_threads=False)
            new = {(group, name): read[name] for name in missing}
            _COLUMNS.keep(new)
            found |= new
        return pa.table({name: found[group, name] for name in columns})

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


def last_published_ms(settings: Settings, day: Partition, at_ms: int) -> int | None:
    """Return the time of a day's last snapshot up to a moment; None without one, or when it cannot be read."""
    path = day.published(settings, "snapshots")
    rows = read_published(path, Shape(day.feed, ("timestamp",)), Span(0, at_ms + 1))
    return int(rows["timestamp"][-1].as_py()) if rows is not None and rows.num_rows else None


def _warn(path: Path, error: Exception) -> None:
    logger.warning("%s cannot be read: %s", path, str(error).partition("\n")[0])
