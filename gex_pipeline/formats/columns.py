"""Snapshots as Arrow tables: the declared schemas, and the builder that fills them."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gex_pipeline.feeds import Feed
from gex_pipeline.formats.gexbot import NUMBER_COLUMNS, WHOLE_COLUMNS, Snapshot, Strikes

SNAPSHOTS_SCHEMA = pa.schema(
    [
        ("timestamp", pa.int64()),
        ("ticker", pa.string()),
        ("endpoint", pa.string()),
        *((name, pa.int32() if name in WHOLE_COLUMNS else pa.float64()) for name in NUMBER_COLUMNS),
        ("max_priors", pa.string()),
        ("max_change", pa.string()),
        ("extra", pa.string()),
    ]
)
STRIKES_SCHEMA = pa.schema(
    [
        ("timestamp", pa.int64()),
        ("ticker", pa.string()),
        ("endpoint", pa.string()),
        ("strike", pa.float64()),
        ("gamma", pa.float64()),
        ("oi_gamma", pa.float64()),
        ("vanna", pa.float64()),
        ("priors", pa.list_(pa.float64())),
    ]
)
# As the day's files are published, and staged.
PUBLISHED_SNAPSHOTS_SCHEMA = SNAPSHOTS_SCHEMA.append(pa.field("source", pa.string()))
PUBLISHED_STRIKES_SCHEMA = STRIKES_SCHEMA.remove(STRIKES_SCHEMA.get_field_index("vanna"))


@dataclass
class SnapshotColumns:
    """Collects parsed snapshots and turns them into the two tables. Timestamps are epoch milliseconds, UTC."""

    snapshots: list[Snapshot] = field(default_factory=list)
    feeds: list[Feed] = field(default_factory=list)

    def append(self, snapshot: Snapshot, feed: Feed) -> None:
        """Add one snapshot under the feed it belongs to."""
        self.snapshots.append(snapshot)
        self.feeds.append(feed)

    def __len__(self) -> int:
        """Return the number of snapshots collected."""
        return len(self.snapshots)

    def clear(self) -> None:
        """Forget what was collected."""
        self.snapshots.clear()
        self.feeds.clear()

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """Return the snapshots (SNAPSHOTS_SCHEMA) and their strikes (STRIKES_SCHEMA), in the order appended."""
        if not self.snapshots:
            return SNAPSHOTS_SCHEMA.empty_table(), STRIKES_SCHEMA.empty_table()
        return self._snapshots_table(), self._strikes_table()

    def _snapshots_table(self) -> pa.Table:
        numbers = zip(*(snapshot.numbers for snapshot in self.snapshots), strict=True)
        columns = [
            pa.array([snapshot.timestamp_ms for snapshot in self.snapshots], pa.int64()),
            pa.array([feed.ticker for feed in self.feeds], pa.string()),
            pa.array([feed.endpoint for feed in self.feeds], pa.string()),
            *(
                pa.array(values, pa.float64()).cast(SNAPSHOTS_SCHEMA.field(name).type)
                for name, values in zip(NUMBER_COLUMNS, numbers, strict=True)
            ),
            *(
                pa.array([getattr(snapshot, name) for snapshot in self.snapshots], pa.string())
                for name in ("max_priors", "max_change", "extra")
            ),
        ]
        return pa.Table.from_arrays(columns, schema=SNAPSHOTS_SCHEMA)

    def _strikes_table(self) -> pa.Table:
        ladders = [snapshot.strikes for snapshot in self.snapshots]
        sizes = np.array([len(ladder.table) for ladder in ladders])
        owner = pa.array(np.repeat(np.arange(len(ladders)), sizes))
        return strikes_table(
            np.repeat(np.array([snapshot.timestamp_ms for snapshot in self.snapshots], np.int64), sizes),
            pa.array([feed.ticker for feed in self.feeds], pa.string()).take(owner),
            pa.array([feed.endpoint for feed in self.feeds], pa.string()).take(owner),
            join_ladders(ladders),
        )


def strikes_table(
    timestamps: npt.NDArray[np.int64], tickers: pa.Array, endpoints: pa.Array, strikes: Strikes
) -> pa.Table:
    """Return strikes as a table (STRIKES_SCHEMA); each of the n strikes has its timestamp, ticker and endpoint."""
    levels, gammas, oi_gammas = np.ascontiguousarray(strikes.table.T)
    vanna = pa.nulls(len(timestamps), pa.float64()) if strikes.vanna is None else _nullable(strikes.vanna)
    columns = [
        pa.array(timestamps),
        tickers,
        endpoints,
        _nullable(levels),
        _nullable(gammas),
        _nullable(oi_gammas),
        vanna,
        _priors(strikes),
    ]
    return pa.Table.from_arrays(columns, schema=STRIKES_SCHEMA)


def join_ladders(ladders: list[Strikes]) -> Strikes:
    """Return several ladders as one, in their order."""
    vanna = None
    if any(ladder.vanna is not None for ladder in ladders):
        vanna = np.concatenate(
            [np.full(len(each.table), np.nan) if each.vanna is None else each.vanna for each in ladders]
        )
    return Strikes(
        np.concatenate([ladder.table for ladder in ladders]),
        vanna,
        np.concatenate([ladder.priors for ladder in ladders]),
        np.concatenate([ladder.prior_counts for ladder in ladders]),
    )


def _priors(strikes: Strikes) -> pa.Array:
    counts = strikes.prior_counts
    missing = counts < 0
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(np.where(missing, 0, counts), out=offsets[1:])
    mask = pa.array(missing) if missing.any() else None
    return pa.ListArray.from_arrays(pa.array(offsets), _nullable(strikes.priors), mask=mask)


def _nullable(values: np.ndarray) -> pa.Array:
    """Make a float column in which NaN, never a value here, becomes null."""
    has_nan = np.isnan(values.min(initial=0.0))  # the least of numbers with a NaN among them is NaN
    return pa.array(values, pa.float64(), from_pandas=bool(has_nan))
