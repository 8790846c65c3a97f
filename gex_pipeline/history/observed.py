"""A day's two Parquet files read once: one row per snapshot, with what its ladder adds up to, for checks to ask."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gex_pipeline.pictures.heat_map import Ladders
from gex_pipeline.storage.files import Version, version_of

Times = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_Columns = tuple[npt.NDArray[Any], ...]

# The pairs that a snapshot names, and where they are in a ladder: the column that names the strike, the columns of
# the extreme value and of the strike that has it, and the column of the strikes that is meant.
MAJORS = (
    ("major_pos_vol", "most_vol", "most_vol_at", "gamma"),
    ("major_neg_vol", "least_vol", "least_vol_at", "gamma"),
    ("major_pos_oi", "most_oi", "most_oi_at", "oi_gamma"),
    ("major_neg_oi", "least_oi", "least_oi_at", "oi_gamma"),
)
_EXTREMES = [column for _, extreme, place, _ in MAJORS for column in (extreme, place)]
_STRIKE_COLUMNS = ["timestamp", "strike", "gamma", "oi_gamma"]
_MINUTE_MS = 60_000
# The numbers that GexBot gives in each snapshot.
VENDOR_NUMBERS = (
    "spot_price",
    "zero_gamma",
    *(major for major, *_ in MAJORS),
    "sum_gex_vol",
    "sum_gex_oi",
)


@dataclass(frozen=True)
class Day:
    """What the two files of a day hold, in the order of time.

    Attributes:
        rows: one for each snapshot: `timestamp` (epoch ms UTC), `source`, VENDOR_NUMBERS, `previous_ms` and
            `previous_spot` of the row before; of its ladder, NULL where it has none, `strikes` (how many), `lowest`,
            `highest`, `total_vol`, `total_oi`, and the columns that MAJORS names.
        strikes_path: where the ladders are.
        strikes: how many there are.
        orphans: how many of them have no snapshot.
        repeated: timestamps of strikes that come twice in a row in their ladder.
        descending: timestamps of strikes that are lower than the one before in their ladder.
        ladders: one ladder a minute, for pictures.
    """

    rows: pa.Table
    strikes_path: Path
    strikes: int
    orphans: int
    repeated: Times
    descending: Times
    ladders: Ladders

    @cached_property
    def times(self) -> Times:
        """The timestamps of the snapshots, epoch ms UTC."""
        times: Times = self.rows["timestamp"].to_numpy()
        return times

    @cached_property
    def usual_step_ms(self) -> float:
        """The median time between two snapshots; 0 with fewer than two."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0


def ask(connection: duckdb.DuckDBPyConnection, day: Day, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query of `day`, the rows of a day."""
    connection.register("day", day.rows)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.unregister("day")


def observe(snapshots: Path, strikes: Path) -> Day:
    """Read the two files of a day; those that this process has read just before are not read again.

    Raises:
        OSError: one is not there.
        pyarrow.ArrowException, KeyError: one is no Parquet file with our columns.
    """
    versions = version_of(snapshots), version_of(strikes)
    if versions not in _known:
        day = _read(snapshots, strikes)
        while len(_known) >= _MOST_REMEMBERED:
            del _known[next(iter(_known))]
        _known[versions] = day
    return _known[versions]


_MOST_REMEMBERED = 2
_known: dict[tuple[Version, Version], Day] = {}


def _read(snapshots: Path, strikes: Path) -> Day:
    ladders, disorder, sampled = _read_ladders(strikes)
    with pq.ParquetFile(snapshots) as file:
        rows = file.read(columns=["timestamp", "source", *VENDOR_NUMBERS]).sort_by("timestamp")
    for name, previous in (("timestamp", "previous_ms"), ("spot_price", "previous_spot")):
        moved = pa.chunked_array([pa.nulls(1, rows[name].type), *rows[name].chunks])
        rows = rows.append_column(previous, moved.slice(0, len(rows)))
    own = pc.index_in(rows["timestamp"], ladders["timestamp"])
    for name in ladders.column_names[1:]:
        rows = rows.append_column(name, ladders[name].take(own))
    all_strikes, owned = (int(pc.sum(table["strikes"]).as_py() or 0) for table in (ladders, rows))
    return Day(rows, strikes, all_strikes, all_strikes - owned, *disorder, sampled)


def _read_ladders(strikes: Path) -> tuple[pa.Table, tuple[Times, Times], Ladders]:
    """Return a row for each ladder of a file, the timestamps of strikes that repeat or descend, and some ladders."""
    parts: list[_Columns] = []
    sampled = [Ladders(np.empty(0, np.int64), np.empty(0), np.empty(0))]
    disorder: list[tuple[Times, Times]] = [(np.empty(0, np.int64), np.empty(0, np.int64))]

    def take(columns: list[npt.NDArray[Any]]) -> None:
        times, levels = columns[:2]
        steps, is_same = np.diff(levels), times[1:] == times[:-1]
        disorder.append((times[1:][is_same & (steps == 0)], times[1:][is_same & (steps < 0)]))
        starts = np.flatnonzero(np.diff(times, prepend=-1))
        sampled.append(_one_a_minute(starts, *columns[:3]))
        parts.extend(_summarise(starts, *columns))

    with pq.ParquetFile(strikes) as file:
        rest: list[npt.NDArray[Any]] = [np.empty(0)] * len(
            _STRIKE_COLUMNS
        )  # the last ladder may go on in the next group
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=_STRIKE_COLUMNS)
            columns = [table[name].to_numpy() for name in _STRIKE_COLUMNS]
            if len(rest[0]) and rest[0][0] == columns[0][0]:
                columns = [np.concatenate(pair) for pair in zip(rest, columns, strict=True)]
            else:
                take(rest)
            last = int(np.argmax(columns[0] == columns[0][-1]))
            take([column[:last] for column in columns])
            rest = [column[last:] for column in columns]
        take(rest)
    names = ("timestamp", "strikes", "lowest", "highest", "total_vol", *_EXTREMES[:4], "total_oi", *_EXTREMES[4:])
    joined = [np.concatenate(values) for values in zip(*parts, strict=True)] or [np.empty(0)] * len(names)
    types = [pa.int64(), pa.int64()] + [pa.float64()] * (len(names) - 2)
    arrays = [pa.array(values, kind, from_pandas=True) for values, kind in zip(joined, types, strict=True)]
    repeated, descending = (np.concatenate(times) for times in zip(*disorder, strict=True))
    joined_sample = Ladders(*(np.concatenate(values) for values in zip(*sampled, strict=True)))
    return pa.table(dict(zip(names, arrays, strict=True))), (repeated, descending), joined_sample


def _one_a_minute(starts: npt.NDArray[np.intp], times: Times, levels: Floats, gamma: Floats) -> Ladders:
    """Return the first ladder of each minute; `starts` are the rows at which ladders begin."""
    is_first = np.diff(times[starts] // _MINUTE_MS, prepend=-1) != 0
    chosen = np.repeat(is_first, np.diff(starts, append=len(times)))
    return Ladders(times[chosen], levels[chosen], gamma[chosen])


def _summarise(
    starts: npt.NDArray[np.intp], times: Times, levels: Floats, gamma: Floats, oi_gamma: Floats
) -> Iterator[_Columns]:
    """Yield columns of whole ladders, those of one size together; each ladder's rows follow one another."""
    sizes = np.diff(starts, append=len(times))
    for size in np.unique(sizes):
        begin = starts[sizes == size]
        # Where all are of one size, as they are but for odd days, this is no copy.
        ladder = slice(None) if len(begin) * size == len(times) else (begin[:, None] + np.arange(size)).ravel()
        strikes, by_vol, by_oi = (values[ladder].reshape(-1, size) for values in (levels, gamma, oi_gamma))
        bounds = np.full(len(begin), size), strikes.min(axis=1), strikes.max(axis=1)
        yield (times[begin], *bounds, *_extremes(strikes, by_vol), *_extremes(strikes, by_oi))


def _extremes(strikes: Floats, values: Floats) -> _Columns:
    """Return of each ladder the sum, the highest value and its strike, and the lowest and its strike.

    An absent value, NaN, counts for nothing; the sum of none is NaN, and none is above or below zero then.
    """
    highest = lowest = values
    total = values.sum(axis=1)
    if np.isnan(total).any():
        absent = np.isnan(values)
        total = np.where(absent.all(axis=1), np.nan, np.where(absent, 0, values).sum(axis=1))
        highest, lowest = np.where(absent, -np.inf, values), np.where(absent, np.inf, values)
    ladders = np.arange(len(values))
    top, bottom = highest.argmax(axis=1), lowest.argmin(axis=1)
    return total, highest[ladders, top], strikes[ladders, top], lowest[ladders, bottom], strikes[ladders, bottom]


@lru_cache(maxsize=256)
def session_rows(_version: Version, snapshots: Path, opened_ms: int, closed_ms: int) -> int:
    """Return how many snapshots a file has between two moments (epoch ms UTC, inclusive).

    The file's statistics answer when all of them are; else its timestamps are read.

    Raises:
        OSError, pyarrow.ArrowException: it is not there or cannot be read.
    """
    with pq.ParquetFile(snapshots) as file:
        groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
        bounds = [group.column(file.schema_arrow.get_field_index("timestamp")).statistics for group in groups]
        if all(each and each.has_min_max and each.min >= opened_ms and each.max <= closed_ms for each in bounds):
            return int(file.metadata.num_rows)
        times = file.read(columns=["timestamp"])["timestamp"].to_numpy()
    return int(((times >= opened_ms) & (times <= closed_ms)).sum())
