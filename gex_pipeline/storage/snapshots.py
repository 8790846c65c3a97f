"""Inserting snapshots and strikes: keyed, so that the first accepted observation stays."""

from typing import TypedDict

import duckdb

from gex_pipeline.feeds import Feed
from gex_pipeline.formats.columns import SNAPSHOTS_SCHEMA, STRIKES_SCHEMA
from gex_pipeline.storage.lease import fetch_row
from gex_pipeline.storage.lineage import ImportCounts
from gex_pipeline.storage.schema import column_type

KEY = "timestamp, ticker, endpoint"
SNAPSHOT_COLUMNS = tuple(SNAPSHOTS_SCHEMA.names)
STRIKE_COLUMNS = tuple(STRIKES_SCHEMA.names)


class _Origin(TypedDict):
    source: str
    import_id: int


def insert_new(
    connection: duckdb.DuckDBPyConnection, snapshots: str, strikes: str, *, source: str, import_id: int
) -> ImportCounts:
    """Insert the rows whose key is not in the tables yet; call it inside a transaction.

    Args:
        connection: of the database file.
        snapshots: name of a relation with SNAPSHOTS_SCHEMA, each key once.
        strikes: name of a relation with STRIKES_SCHEMA.
        source: `live`, `history` or `uw`.
        import_id: the line in `data_lineage` these rows belong to.
    """
    bounds = fetch_row(connection, f"SELECT min(timestamp), max(timestamp), count(*) FROM {snapshots}")
    if bounds is None or bounds[2] == 0:
        return ImportCounts(0, 0, 0, 0)
    first, last, offered = bounds
    _note_known_keys(connection, "known_snapshots", "gex_snapshots", first, last)
    _note_known_keys(connection, "known_strikes", "gex_strikes", first, last)
    present = offered - _count(connection, f"{snapshots} ANTI JOIN known_snapshots USING ({KEY})")
    differing = _count_differing(connection, snapshots, strikes) if present else 0
    origin: _Origin = {"source": source, "import_id": import_id}
    inserted_strikes = _insert(connection, "gex_strikes", STRIKE_COLUMNS, strikes, "known_strikes", **origin)
    inserted = _insert(connection, "gex_snapshots", SNAPSHOT_COLUMNS, snapshots, "known_snapshots", **origin)
    return ImportCounts(inserted, inserted_strikes, present, differing)


def rows_sql(connection: duckdb.DuckDBPyConnection, table: str, columns: tuple[str, ...]) -> str:
    """Return a SELECT of a table with the declared types, whatever types and empty endpoints a user's file has."""
    expressions = {"endpoint": "coalesce(endpoint, 'gex_zero')"}
    if "priors" in columns and "[]" not in column_type(connection, table, "priors"):
        expressions["priors"] = "CAST(CAST(priors AS JSON) AS DOUBLE[])"
    chosen = ", ".join(f"{expressions[name]} AS {name}" if name in expressions else name for name in columns)
    return f"SELECT {chosen} FROM {table}"


def day_rows_sql(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: tuple[str, ...],
    feed: Feed,
    first_ms: int,
    last_ms: int,
) -> str:
    """Return a SELECT of one feed's rows between two moments (epoch ms UTC, inclusive)."""
    return (
        f"{rows_sql(connection, table, columns)} WHERE timestamp BETWEEN {first_ms:d} AND {last_ms:d} "
        f"AND ticker = '{feed.ticker}' AND coalesce({table}.endpoint, 'gex_zero') = '{feed.endpoint}'"
    )


def checksum_sql(columns: tuple[str, ...]) -> str:
    """Return an aggregate over the columns that does not depend on the order of the rows."""
    return f"coalesce(sum(hash({', '.join(columns)})::HUGEINT), 0)"


def _note_known_keys(connection: duckdb.DuckDBPyConnection, name: str, table: str, first: int, last: int) -> None:
    """Keep the keys a table already has in a time range (epoch ms, inclusive) as a temporary table."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT DISTINCT timestamp, ticker, "
        f"coalesce(endpoint, 'gex_zero') AS endpoint FROM {table} WHERE timestamp BETWEEN {first:d} AND {last:d}"
    )


def _insert(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: tuple[str, ...],
    offered: str,
    known: str,
    *,
    source: str,
    import_id: int,
) -> int:
    values = list(columns)
    if "priors" in columns and "[]" not in column_type(connection, table, "priors"):
        values[columns.index("priors")] = "CAST(to_json(priors) AS VARCHAR)"
    row = fetch_row(
        connection,
        f"INSERT INTO {table} ({', '.join(columns)}, source, import_id) "
        f"SELECT {', '.join(values)}, ?, ? FROM {offered} ANTI JOIN {known} USING ({KEY})",
        [source, import_id],
    )
    return int(row[0]) if row else 0


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    row = fetch_row(connection, f"SELECT count(*) FROM {relation}")
    return int(row[0]) if row else 0


def _count_differing(connection: duckdb.DuckDBPyConnection, snapshots: str, strikes: str) -> int:
    """Count offered keys that are stored with other values, in the snapshot or in any of its strikes."""
    stored_snapshots = rows_sql(connection, "gex_snapshots", SNAPSHOT_COLUMNS)
    stored_strikes = rows_sql(connection, "gex_strikes", STRIKE_COLUMNS)
    bounds = (
        f"timestamp BETWEEN (SELECT min(timestamp) FROM {snapshots}) AND (SELECT max(timestamp) FROM {snapshots})"
    )
    return _count(
        connection,
        f"""(
        WITH offered AS (
            SELECT {KEY}, hash({", ".join(SNAPSHOT_COLUMNS)}) AS content
            FROM {snapshots} SEMI JOIN known_snapshots USING ({KEY})
        ), stored AS (
            SELECT {KEY}, hash({", ".join(SNAPSHOT_COLUMNS)}) AS content FROM ({stored_snapshots} WHERE {bounds})
        ), offered_strikes AS (
            SELECT {KEY}, {checksum_sql(STRIKE_COLUMNS)} AS content
            FROM {strikes} SEMI JOIN known_strikes USING ({KEY}) GROUP BY ALL
        ), stored_strikes AS (
            SELECT {KEY}, {checksum_sql(STRIKE_COLUMNS)} AS content FROM ({stored_strikes} WHERE {bounds})
            GROUP BY ALL
        )
        SELECT {KEY} FROM offered ANTI JOIN stored USING ({KEY}, content)
        UNION
        SELECT {KEY} FROM offered_strikes ANTI JOIN stored_strikes USING ({KEY}, content)
        )""",
    )
