"""What a database file holds: the rows of every table and a checksum of their values, to compare two files by."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import msgspec

from gex_pipeline.errors import BackupError
from gex_pipeline.storage.lease import fetch_row

# Called with the rows that were read and those there are.
RowProgress = Callable[[int, int], None]

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class TableContent(msgspec.Struct, frozen=True):
    """What one table holds.

    Attributes:
        rows: their number.
        checksum: over all values of all columns, whatever the order of the rows; comparable within one version of
            DuckDB only. A decimal number, too large for JSON's.
    """

    rows: int
    checksum: str


@dataclass(frozen=True)
class _Table:
    """A table's name as people read it, as SQL takes it, and its columns in SQL with their types."""

    name: str
    sql: str
    columns: list[tuple[str, str]]


@contextmanager
def opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database file to read it, without a lease: for files that nobody writes.

    Raises:
        BackupError: DuckDB cannot open it.
    """
    try:
        connection = duckdb.connect(path, read_only=True, config={"autoinstall_known_extensions": "false"})
    except duckdb.Error as error:
        raise BackupError(f"it cannot be opened: {_first_line(error)}") from error
    try:
        yield connection
    finally:
        connection.close()


def has_rows(connection: duckdb.DuckDBPyConnection) -> bool:
    """Tell whether any table has a row, for less than it takes to list their columns."""
    tables = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() "
        "WHERE database_name = current_database() AND NOT internal AND NOT temporary"
    ).fetchall()
    return any(
        fetch_row(connection, f"SELECT 1 FROM {_quoted(schema)}.{_quoted(table)} LIMIT 1") for schema, table in tables
    )


def count_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return the number of rows of every table; temporary ones are not in the file."""
    return {table.name: _count(connection, table) for table in _list_tables(connection)}


def read_contents(
    connection: duckdb.DuckDBPyConnection, progress: RowProgress
) -> tuple[dict[str, TableContent], list[str]]:
    """Read every value of every table.

    Returns:
        The content of each table, and a line for each table that cannot be read.
    """
    contents: dict[str, TableContent] = {}
    problems = []
    tables = [(table, _count(connection, table)) for table in _list_tables(connection)]
    done, total = 0, sum(rows for _, rows in tables)
    for table, rows in tables:
        progress(done, total)
        try:
            row = fetch_row(connection, f"SELECT count(*), {_checksum(table.columns)} FROM {table.sql}")
        except duckdb.Error as error:
            problems.append(f"{table.name} cannot be read: {_first_line(error)}")
        else:
            contents[table.name] = TableContent(*row) if row else TableContent(0, "0")
        done += rows
    progress(done, total)
    return contents, problems


def differences(
    expected: dict[str, TableContent], found: dict[str, TableContent], *, with_checksums: bool
) -> list[str]:
    """Return a line for every table that is missing, was added, or holds something else."""
    lines = [
        f"{table} is missing, with its {expected[table].rows:,} rows" for table in expected.keys() - found.keys()
    ]
    lines += [
        f"{table} was not there, and has {found[table].rows:,} rows" for table in found.keys() - expected.keys()
    ]
    for table in expected.keys() & found.keys():
        was, now = expected[table], found[table]
        if was.rows != now.rows:
            lines.append(f"{table} has {now.rows:,} rows instead of {was.rows:,}")
        elif with_checksums and was.checksum != now.checksum:
            lines.append(f"{table} has its {now.rows:,} rows, but other values in them")
    return sorted(lines)


def _list_tables(connection: duckdb.DuckDBPyConnection) -> list[_Table]:
    rows = connection.execute(
        "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() "
        "SEMI JOIN (FROM duckdb_tables() WHERE NOT internal AND NOT temporary) USING (database_name, table_oid) "
        "WHERE database_name = current_database() ORDER BY schema_name, table_name, column_index"
    ).fetchall()
    tables: dict[str, _Table] = {}
    for schema, table, column, kind in rows:
        name = _readable(table) if schema == "main" else f"{_readable(schema)}.{_readable(table)}"
        each = tables.setdefault(name, _Table(name, f"{_quoted(schema)}.{_quoted(table)}", []))
        each.columns.append((_quoted(column), kind))
    return list(tables.values())


def _checksum(columns: list[tuple[str, str]]) -> str:
    # DuckDB gives an empty list the checksum of NULL.
    told_apart = [f"{name} IS NULL" for name, kind in columns if kind.endswith("[]")]
    return f"coalesce(sum(hash({', '.join([name for name, _ in columns] + told_apart)})::HUGEINT), 0)::VARCHAR"


def _count(connection: duckdb.DuckDBPyConnection, table: _Table) -> int:
    row = fetch_row(connection, f"SELECT count(*) FROM {table.sql}")
    return int(row[0]) if row else 0


def _readable(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else _quoted(name)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
