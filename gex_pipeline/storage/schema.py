"""The tables, and how a file gets them: created when missing, columns added when missing, nothing else touched."""

import duckdb

from gex_pipeline.formats.option_trades import TRADES_SCHEMA
from gex_pipeline.storage.lease import transaction

_ARROW_TO_DUCKDB = {
    "int64": "BIGINT",
    "string": "VARCHAR",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "date32[day]": "DATE",
    "decimal128(38, 18)": "DECIMAL(38, 18)",
    "list<item: string>": "VARCHAR[]",
    "list<element: string>": "VARCHAR[]",
}

# Columns in the order of a new file. In an existing file a missing column is added at the end; the default
# then also stands for the rows that were there before.
TABLES: dict[str, dict[str, str]] = {
    "gex_snapshots": {
        "timestamp": "BIGINT",
        "ticker": "VARCHAR",
        "endpoint": "VARCHAR DEFAULT 'gex_zero'",
        "spot_price": "DOUBLE",
        "zero_gamma": "DOUBLE",
        "net_gex": "DOUBLE",
        "min_dte": "INTEGER",
        "sec_min_dte": "INTEGER",
        "major_pos_vol": "DOUBLE",
        "major_pos_oi": "DOUBLE",
        "major_neg_vol": "DOUBLE",
        "major_neg_oi": "DOUBLE",
        "sum_gex_vol": "DOUBLE",
        "sum_gex_oi": "DOUBLE",
        "delta_risk_reversal": "DOUBLE",
        "net_gex_vol": "DOUBLE",
        "net_gex_oi": "DOUBLE",
        "max_priors": "VARCHAR",
        "max_change": "VARCHAR",
        "extra": "VARCHAR",
        "source": "VARCHAR",
        "import_id": "BIGINT",
    },
    "gex_strikes": {
        "timestamp": "BIGINT",
        "ticker": "VARCHAR",
        "endpoint": "VARCHAR DEFAULT 'gex_zero'",
        "strike": "DOUBLE",
        "gamma": "DOUBLE",
        "oi_gamma": "DOUBLE",
        "vanna": "DOUBLE",
        "priors": "DOUBLE[]",
        "source": "VARCHAR",
        "import_id": "BIGINT",
    },
    "universal_webhooks": {
        "received_at": "BIGINT",
        "topic": "VARCHAR",
        "event": "VARCHAR",
        "payload": "VARCHAR",
        "journal_segment": "BIGINT",
        "journal_offset": "BIGINT",
    },
    "option_trades_events": {field.name: _ARROW_TO_DUCKDB[str(field.type)] for field in TRADES_SCHEMA},
    "gex_history_queue": {
        "id": "BIGINT",
        "ticker": "VARCHAR",
        "endpoint": "VARCHAR",
        "date": "DATE",
        "url": "VARCHAR",
        "metadata": "VARCHAR",
        "status": "VARCHAR",
        "attempts": "INTEGER",
        "last_error": "VARCHAR",
        "run_id": "VARCHAR",
        "announced": "INTEGER",
        "announced_at": "BIGINT",
        "announced_again": "BOOLEAN DEFAULT false",
        "started_at": "BIGINT",
        "finished_at": "BIGINT",
    },
    "data_lineage": {
        "import_id": "BIGINT",
        "source_file": "VARCHAR",
        "sha256": "VARCHAR",
        "record_type": "VARCHAR",
        "ticker": "VARCHAR",
        "endpoint": "VARCHAR",
        "date": "DATE",
        "records_imported": "BIGINT",
        "strikes_imported": "BIGINT",
        "records_present": "BIGINT",
        "records_differing": "BIGINT",
        "records_replaced": "BIGINT",
        "started_at": "BIGINT",
        "seconds": "DOUBLE",
        "import_timestamp": "BIGINT",
        "status": "VARCHAR",
        "errors": "VARCHAR",
        "run_id": "VARCHAR",
    },
    "loader_position": {
        "journal": "VARCHAR",
        "segment": "BIGINT",
        "byte_offset": "BIGINT",
        "loaded_at": "BIGINT",
    },
}


def ensure_schema(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Create what is missing and return the statements that did it; an up-to-date file is only read."""
    statements = missing_schema(connection)
    if statements:
        with transaction(connection):
            for statement in statements:
                connection.execute(statement)
    return statements


def missing_schema(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the statements that a file still needs to have every table and column. Not for use in a transaction."""
    return [statement for table in TABLES for statement in _missing(connection, table)]


def has_table(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Tell whether the file has a table; one that nothing was ever loaded into may have none of ours."""
    return bool(connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [table]).fetchall())


def column_types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return the declared type of each column; users' files keep the types they came with.

    Raises:
        duckdb.CatalogException: there is no such table.
    """
    # duckdb_columns() would take a new connection 10 ms.
    return dict(connection.execute("SELECT lower(name), type FROM pragma_table_info(?)", [table]).fetchall())


def column_type(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> str:
    """Return one column's declared type, the type of a new file for a column that is missing."""
    return column_types(connection, table).get(column, TABLES[table][column])


def _missing(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    columns = TABLES[table]
    try:
        present = column_types(connection, table)
    except duckdb.CatalogException:
        declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        return [f"CREATE TABLE {table} ({declared})"]
    return [f"ALTER TABLE {table} ADD COLUMN {name} {kind}" for name, kind in columns.items() if name not in present]
