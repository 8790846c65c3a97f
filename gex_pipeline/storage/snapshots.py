"""Inserting snapshots and strikes: keyed, so that the first accepted observation stays."""

from typing import TypedDict

import duckdb

from gex_pipeline.feeds import Feed
from gex_pipeline.formats.columns import SNAPSHOTS_SCHEMA, STRIKES_SCHEMA
from gex_pipeline.formats.gexbot import WHOLE_COLUMNS
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
    first, last, _ = bounds
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE known_keys AS {_keys('gex_snapshots', first, last)} "
        f"UNION {_keys('gex_strikes', first, last)}"
    )
    present = _count(connection, f"{snapshots} SEMI JOIN known_keys USING ({KEY})")
    differing = _count_differing(connection, snapshots, strikes, first, last) if present else 0
    origin: _Origin = {"source": source, "import_id": import_id}
    inserted_strikes = _insert(connection, "gex_strikes", STRIKE_COLUMNS, strikes, **origin)
    inserted = _insert(connection, "gex_snapshots", SNAPSHOT_COLUMNS, snapshots, **origin)
    return ImportCounts(inserted, inserted_strikes, present, differing)


def rows_sql(connection: duckdb.DuckDBPyConnection, table: str, columns: tuple[str, ...]) -> str:
    """Return a SELECT of a table with the declared types, whatever types and empty endpoints a user's file has."""
    expressions = {"endpoint": "coalesce(endpoint, 'gex_zero')"}
    if "priors" in columns and "[]" not in column_type(connection, table, "priors"):
        expressions["priors"] = "TRY_CAST(TRY_CAST(priors AS JSON) AS DOUBLE[])"
    for name in WHOLE_COLUMNS.intersection(columns):
        expressions[name] = f"TRY_CAST({name} AS INTEGER)"
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
    told_apart = (*columns, "priors IS NULL") if "priors" in columns else columns
    return f"coalesce(sum(hash({', '.join(told_apart)})::HUGEINT), 0)"


def _keys(table: str, first: int, last: int) -> str:
    """Return a SELECT of the keys a table has in a time range (epoch ms, inclusive)."""
    return (
        f"SELECT DISTINCT timestamp, ticker, coalesce(endpoint, 'gex_zero') AS endpoint FROM {table} "
        f"WHERE timestamp BETWEEN {first:d} AND {last:d}"
    )


def _insert(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: tuple[str, ...],
    offered: str,
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
        f"SELECT {', '.join(values)}, ?, ? FROM {offered} ANTI JOIN known_keys USING ({KEY})",
        [source, import_id],
    )
    return int(row[0]) if row else 0


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    row = fetch_row(connection, f"SELECT count(*) FROM {relation}")
    return int(row[0]) if row else 0


def _count_differing(
    connection: duckdb.DuckDBPyConnection, snapshots: str, strikes: str, first: int, last: int
) -> int:
    """Count offered keys that are stored with other values, in the snapshot or anywhere in its ladder."""
    in_range = f"WHERE timestamp BETWEEN {first:d} AND {last:d}"
    stored_snapshots = f"({rows_sql(connection, 'gex_snapshots', SNAPSHOT_COLUMNS)} {in_range})"
    stored_strikes = f"({rows_sql(connection, 'gex_strikes', STRIKE_COLUMNS)} {in_range})"
    offered = _contents(f"{snapshots} SEMI JOIN known_keys USING ({KEY})", strikes)
    stored = _contents(stored_snapshots, stored_strikes)
    return _count(connection, f"({offered}) ANTI JOIN ({stored}) USING ({KEY}, content, ladder)")


def _contents(snapshots: str, strikes: str) -> str:
    """Return a SELECT of each key with a checksum of its snapshot and one of its ladder, 0 without strikes."""
    return (
        f"SELECT {KEY}, content, coalesce(ladder, 0) AS ladder "
        f"FROM (SELECT {KEY}, hash({', '.join(SNAPSHOT_COLUMNS)}) AS content FROM {snapshots}) LEFT JOIN "
        f"(SELECT {KEY}, {checksum_sql(STRIKE_COLUMNS)} AS ladder FROM {strikes} GROUP BY ALL) USING ({KEY})"
    )
