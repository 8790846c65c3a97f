"""What rows hold, in two numbers: how the database, staged files and published files are compared."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import duckdb

from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.storage.lease import fetch_row, in_memory, quoted
from gex_pipeline.storage.snapshots import as_read_back, checksum_sql, day_rows_sql
from gex_pipeline.trading_days import day_bounds_ms


@dataclass(frozen=True)
class Content:
    """How many rows there are, and a checksum of their values that does not depend on their order."""

    rows: int
    checksum: int


def stored_content(
    connection: duckdb.DuckDBPyConnection,
    partition: Partition,
    table: Table,
    columns: tuple[str, ...],
    *,
    import_ids: Sequence[int] | None = None,
) -> Content:
    """Return what the database holds of a day, or what some imports brought of it."""
    rows = day_rows_sql(
        connection, f"gex_{table}", (*columns, "import_id"), partition.feed, *day_bounds_ms(partition.date)
    )
    condition = f"WHERE import_id IN ({', '.join(map(str, import_ids)) or 'NULL'})" if import_ids is not None else ""
    return _content(connection, f"({rows}) {condition}", columns)


def staged_content(
    connection: duckdb.DuckDBPyConnection, table: Table, path: Path, columns: tuple[str, ...]
) -> Content:
    """Return what a staged file holds, as it would read back from the types that the user's columns have."""
    plain = f"read_parquet('{quoted(path)}')"
    rows = as_read_back(connection, f"gex_{table}", columns, plain)
    return parquet_content(path, columns) if rows == plain else _content(connection, rows, columns)


def parquet_content(path: Path, columns: tuple[str, ...]) -> Content:
    """Return what a Parquet file holds. The same bytes under another name (a hard link) are not read again.

    Raises:
        OSError: it is not there.
        duckdb.Error: it is no Parquet file with these columns.
    """
    status = path.stat()
    return _read_content(_File(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, path), columns)


@dataclass(frozen=True)
class _File:
    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    path: Path = field(compare=False)


@lru_cache(maxsize=64)
def _read_content(file: _File, columns: tuple[str, ...]) -> Content:
    with in_memory() as connection:
        return _content(connection, f"read_parquet('{quoted(file.path)}')", columns)


def _content(connection: duckdb.DuckDBPyConnection, rows: str, columns: tuple[str, ...]) -> Content:
    row = fetch_row(connection, f"SELECT count(*), {checksum_sql(columns)} FROM {rows}")
    return Content(*row) if row else Content(0, 0)
