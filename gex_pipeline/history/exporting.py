"""From the database to the Parquet files that readers use: one file per table, feed and trading day."""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from gex_pipeline.errors import MalformedFileError, PermanentError
from gex_pipeline.formats.columns import PUBLISHED_SNAPSHOTS_SCHEMA, PUBLISHED_STRIKES_SCHEMA
from gex_pipeline.history.content import Content, parquet_content, stored_content
from gex_pipeline.history.importing import LEASE_TIMEOUT_SECONDS
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.history.staging import read_summary
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import keep_aside, link_or_copy, publish, sha256_of
from gex_pipeline.storage.lease import lease, quoted
from gex_pipeline.storage.snapshots import day_rows_sql
from gex_pipeline.trading_days import day_bounds_ms

PARQUET_COLUMNS: dict[Table, tuple[str, ...]] = {
    "snapshots": tuple(PUBLISHED_SNAPSHOTS_SCHEMA.names),
    "strikes": tuple(PUBLISHED_STRIKES_SCHEMA.names),
}
SORTED_BY: dict[Table, str] = {"snapshots": "timestamp", "strikes": "timestamp, strike"}
# About 20 minutes of one feed at 100 strikes: what a reader skips by time.
ROW_GROUP_ROWS = 122_880


@dataclass(frozen=True)
class Exported:
    """One published Parquet file.

    Attributes:
        is_unchanged: the file that was there holds the same rows and was left alone.
        kept_aside: where the different file that was there is now, None when there was none.
        picture: the day at a glance, an image in Markdown; empty where there is none.
    """

    path: Path
    rows: int
    size_bytes: int
    sha256: str
    is_unchanged: bool
    kept_aside: Path | None
    picture: str = ""


def export_day(settings: Settings, partition: Partition, table: Table) -> Exported:
    """Publish all rows of a feed and trading day, live and history, sorted by time, as one Parquet file.

    A published file that holds what the database holds is left alone. Where the database holds just what was
    staged, the staged file is published under a second name instead of being written again.

    Raises:
        PermanentError: there are no rows, or fewer than in the file that would be replaced.
        LeaseTimeoutError: the database stayed busy.
    """
    target = partition.published(settings, table)
    columns = PARQUET_COLUMNS[table]
    purpose = f"export {partition.key}"
    kept_aside = None
    with lease(
        settings.database_path, purpose=purpose, timeout_seconds=LEASE_TIMEOUT_SECONDS, read_only=True
    ) as connection:
        stored = stored_content(connection, settings.database_path, partition, table, columns)
        if stored.rows == 0 and table == "snapshots":
            raise PermanentError(f"the database has no rows of {partition.key}; import it first")
        is_unchanged = _content_of(connection, target, columns) == stored
        if not is_unchanged:
            _refuse_loss(target, stored.rows)
            with publish(target) as beside:
                if _is_ready(connection, settings, partition, table, stored):
                    link_or_copy(partition.staged(settings, table), beside)
                else:
                    rows = day_rows_sql(
                        connection, f"gex_{table}", columns, partition.feed, *day_bounds_ms(partition.date)
                    )
                    connection.execute(
                        f"COPY ({rows} ORDER BY {SORTED_BY[table]}) TO '{quoted(beside)}' "
                        f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
                    ).fetchall()
                if target.exists():
                    kept_aside = keep_aside(
                        target, root=settings.parquet_path, backups_dir=settings.backups_dir / "parquet"
                    )
    return Exported(target, stored.rows, target.stat().st_size, sha256_of(target), is_unchanged, kept_aside)


def _is_ready(
    connection: duckdb.DuckDBPyConnection, settings: Settings, partition: Partition, table: Table, stored: Content
) -> bool:
    """Tell whether the staged file is what is to be published: the columns, the order and the rows."""
    staged, columns = partition.staged(settings, table), PARQUET_COLUMNS[table]
    try:
        return (
            read_summary(staged).is_sorted
            and tuple(pq.read_schema(staged).names) == columns
            and _content_of(connection, staged, columns) == stored
        )
    except MalformedFileError:
        return False


def _content_of(connection: duckdb.DuckDBPyConnection, path: Path, columns: tuple[str, ...]) -> Content | None:
    """Return what a file holds, None when there is none or it cannot be read."""
    try:
        return parquet_content(connection, path, columns)
    except (OSError, duckdb.Error):
        return None


def _refuse_loss(target: Path, rows: int) -> None:
    try:
        stored = pq.read_metadata(target).num_rows
    except (OSError, pa.ArrowInvalid):
        return  # there is none, or none that can be read
    if rows < stored:
        raise PermanentError(
            f"{target} has {stored:,} rows and the database only {rows:,}: it is not replaced. "
            "Look for what is missing in the database, or move the file away to have it written anew"
        )
