"""What rows hold, in two numbers: how the database, staged files and published files are compared."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.storage.files import version_of
from gex_pipeline.storage.lease import committed_state, quoted
from gex_pipeline.storage.snapshots import as_read_back, checksum_sql, day_rows_sql
from gex_pipeline.trading_days import day_bounds_ms

_MOST_REMEMBERED = 64


@dataclass(frozen=True)
class Content:
    """How many rows there are, and a checksum of their values that does not depend on their order."""

    rows: int
    checksum: int


# What this process has read before, for as long as it is unchanged: by the state of the file and what was asked.
_known: dict[Hashable, Mapping[int | None, Content]] = {}


def stored_content(
    connection: duckdb.DuckDBPyConnection,
    database: Path,
    partition: Partition,
    table: Table,
    columns: tuple[str, ...],
    *,
    import_ids: Sequence[int] | None = None,
) -> Content:
    """Return what the database holds of a day, or what some imports brought of it.

    Args:
        connection: of a read-only lease of `database`.
        database: the DuckDB file.
        partition: which day of which feed.
        table: which rows.
        columns: which of their columns.
        import_ids: the imports; None for every row, whoever brought it.
    """
    rows = day_rows_sql(
        connection, f"gex_{table}", (*columns, "import_id"), partition.feed, *day_bounds_ms(partition.date)
    )
    state = committed_state(database)
    contents = _contents(connection, (state, rows) if state else None, f"({rows})", columns, "import_id")
    chosen = contents.values() if import_ids is None else [contents[each] for each in import_ids if each in contents]
    return Content(sum(each.rows for each in chosen), sum(each.checksum for each in chosen))


def staged_content(
    connection: duckdb.DuckDBPyConnection, table: Table, path: Path, columns: tuple[str, ...]
) -> Content:
    """Return what a staged file holds, as it would read back from the types that the user's columns have."""
    return _parquet_content(
        connection, path, columns, as_read_back(connection, f"gex_{table}", columns, _rows_of(path))
    )


def parquet_content(connection: duckdb.DuckDBPyConnection, path: Path, columns: tuple[str, ...]) -> Content:
    """Return what a Parquet file holds. The same bytes under another name (a hard link) are not read again.

    Raises:
        OSError: it is not there.
        duckdb.Error: it is no Parquet file with these columns.
    """
    return _parquet_content(connection, path, columns, _rows_of(path))


def _rows_of(path: Path) -> str:
    return f"read_parquet('{quoted(path)}')"


def _parquet_content(
    connection: duckdb.DuckDBPyConnection, path: Path, columns: tuple[str, ...], rows: str
) -> Content:
    key = version_of(path), columns, rows.replace(quoted(path), "")
    return _contents(connection, key, rows, columns, "NULL::BIGINT").get(None, Content(0, 0))


def _contents(
    connection: duckdb.DuckDBPyConnection, key: Hashable | None, rows: str, columns: tuple[str, ...], group: str
) -> Mapping[int | None, Content]:
    """Return the content of each group of rows; what `key` names is read once, None is read anew."""
    if key is not None and key in _known:
        return _known[key]
    grouped = connection.execute(
        f"SELECT {group}, count(*), {checksum_sql(columns)} FROM {rows} GROUP BY 1"
    ).fetchall()
    contents = {name: Content(count, checksum) for name, count, checksum in grouped}
    if key is not None:
        if len(_known) == _MOST_REMEMBERED:
            _known.clear()
        _known[key] = contents
    return contents
