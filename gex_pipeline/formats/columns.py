"""Snapshots as Arrow tables: the declared schemas, and the builder that fills them."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from gex_pipeline.feeds import Feed
from gex_pipeline.formats.gexbot import NUMBER_COLUMNS, WHOLE_COLUMNS, Snapshot

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
        owner = np.repeat(np.arange(len(ladders)), sizes)
        table = np.concatenate([ladder.table for ladder in ladders])
        timestamps = np.array([snapshot.timestamp_ms for snapshot in self.snapshots], np.int64)
        vanna = pa.nulls(len(owner), pa.float64())
        if any(ladder.vanna is not None for ladder in ladders):
            absent = [np.full(size, np.nan) for size in sizes]
            vanna = _nullable(
                np.concatenate([a if b.vanna is None else b.vanna for a, b in zip(absent, ladders, strict=True)])
            )
        columns = [
            pa.array(timestamps[owner]),
            pa.array([feed.ticker for feed in self.feeds], pa.string()).take(pa.array(owner)),
            pa.array([feed.endpoint for feed in self.feeds], pa.string()).take(pa.array(owner)),
            *(_nullable(np.ascontiguousarray(table[:, column])) for column in range(3)),
            vanna,
            self._priors(),
        ]
        return pa.Table.from_arrays(columns, schema=STRIKES_SCHEMA)

    def _priors(self) -> pa.Array:
        counts = np.concatenate([snapshot.strikes.prior_counts for snapshot in self.snapshots])
        values = _nullable(np.concatenate([snapshot.strikes.priors for snapshot in self.snapshots]))
        missing = counts < 0
        offsets = np.zeros(len(counts) + 1, np.int32)
        np.cumsum(np.where(missing, 0, counts), out=offsets[1:])
        return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(missing) if missing.any() else None)


def _nullable(values: np.ndarray) -> pa.Array:
    """Make a float column in which NaN, never a value here, becomes null."""
    return pa.array(values, pa.float64(), from_pandas=True)
