"""From the database to the Parquet files that readers use: one file per table, feed and trading day."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from gex_pipeline.errors import PermanentError
from gex_pipeline.history.importing import LEASE_TIMEOUT_SECONDS
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import keep_aside, publish, sha256_of
from gex_pipeline.storage.lease import lease, quoted
from gex_pipeline.storage.snapshots import SNAPSHOT_COLUMNS, day_rows_sql
from gex_pipeline.trading_days import day_bounds_ms

PARQUET_COLUMNS: dict[Table, tuple[str, ...]] = {
    "snapshots": (*SNAPSHOT_COLUMNS, "source"),
    "strikes": ("timestamp", "ticker", "endpoint", "strike", "gamma", "oi_gamma", "priors"),
}
SORTED_BY: dict[Table, str] = {"snapshots": "timestamp", "strikes": "timestamp, strike"}
# About 20 minutes of one feed at 100 strikes: what a reader skips by time.
ROW_GROUP_ROWS = 122_880


@dataclass(frozen=True)
class Exported:
    """One published Parquet file.

    Attributes:
        is_unchanged: the file that was there had the same bytes.
        kept_aside: where the different file that was there is now, None when there was none.
    """

    path: Path
    rows: int
    size_bytes: int
    sha256: str
    is_unchanged: bool
    kept_aside: Path | None


def export_day(settings: Settings, partition: Partition, table: Table) -> Exported:
    """Write all rows of a feed and trading day, live and history, sorted by time, as one Parquet file.

    Raises:
        PermanentError: there are no rows, or fewer than in the file that would be replaced.
        LeaseTimeoutError: the database stayed busy.
    """
    target = partition.published(settings, table)
    with publish(target) as beside:
        purpose = f"export {partition.key}"
        with lease(
            settings.database_path, purpose=purpose, timeout_seconds=LEASE_TIMEOUT_SECONDS, read_only=True
        ) as connection:
            rows_of_day = day_rows_sql(
                connection, f"gex_{table}", PARQUET_COLUMNS[table], partition.feed, *day_bounds_ms(partition.date)
            )
            connection.execute(
                f"COPY ({rows_of_day} ORDER BY {SORTED_BY[table]}) TO '{quoted(beside)}' "
                f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
            )
        rows = pq.read_metadata(beside).num_rows
        sha256 = sha256_of(beside)
        size_bytes = beside.stat().st_size
        if rows == 0 and table == "snapshots":
            raise PermanentError(f"the database has no rows of {partition.key}; import it first")
        is_unchanged = target.exists() and sha256_of(target) == sha256
        kept_aside = None
        if target.exists() and not is_unchanged:
            _refuse_loss(target, rows)
            kept_aside = keep_aside(target, root=settings.parquet_path, backups_dir=settings.backups_dir / "parquet")
    return Exported(target, rows, size_bytes, sha256, is_unchanged, kept_aside)


def _refuse_loss(target: Path, rows: int) -> None:
    stored = pq.read_metadata(target).num_rows
    if rows < stored:
        raise PermanentError(
            f"{target} has {stored:,} rows and the database only {rows:,}: it is not replaced. "
            "Look for what is missing in the database, or move the file away to have it written anew"
        )
