"""Inserting snapshots and strikes: keyed, so that the first accepted observation stays."""

from dataclasses import dataclass

import duckdb

from gex_pipeline.feeds import Feed
from gex_pipeline.formats.columns import SNAPSHOTS_SCHEMA, STRIKES_SCHEMA
from gex_pipeline.formats.gexbot import WHOLE_COLUMNS
from gex_pipeline.storage.lease import fetch_row
from gex_pipeline.storage.lineage import ImportCounts
from gex_pipeline.storage.schema import TABLES, column_type, column_types

KEY = "timestamp, ticker, endpoint"
SNAPSHOT_COLUMNS = tuple(SNAPSHOTS_SCHEMA.names)
STRIKE_COLUMNS = tuple(STRIKES_SCHEMA.names)
SNAPSHOT_VALUES = SNAPSHOT_COLUMNS[3:]
STRIKE_VALUES = STRIKE_COLUMNS[3:]
_JSON_COLUMNS = ("max_priors", "max_change", "extra")


@dataclass(frozen=True)
class Overlap:
    """What of the offered rows the tables have already.

    Attributes:
        present: offered snapshots whose key is stored; the temporary table `known_keys` names them.
        differing: those of `present` that are stored with other values, in the snapshot or anywhere in its ladder;
            the temporary table `differing_keys` names them when there are any.
        first_ms: earliest offered timestamp, epoch ms UTC.
        last_ms: latest.
    """

    present: int
    differing: int
    first_ms: int
    last_ms: int

    @property
    def time_range(self) -> str:
        """A condition that only rows of the offered stretch of time meet."""
        return f"timestamp BETWEEN {self.first_ms:d} AND {self.last_ms:d}"


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
    overlap = find_overlap(connection, snapshots, strikes)
    inserted = insert_unknown(connection, snapshots, strikes, source=source, import_id=import_id)
    return ImportCounts(*inserted, overlap.present, overlap.differing)


def find_overlap(connection: duckdb.DuckDBPyConnection, snapshots: str, strikes: str) -> Overlap:
    """Compare what is offered with what is stored; arguments as for `insert_new`.

    Values are compared as they would read back: numbers as the column's own type keeps them, JSON without blanks.
    """
    bounds = fetch_row(connection, f"SELECT min(timestamp), max(timestamp) FROM {snapshots}") or (None, None)
    overlap = Overlap(0, 0, bounds[0] or 0, bounds[1] or 0)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE known_keys AS SELECT {KEY} FROM {snapshots} SEMI JOIN "
        f"({_keys('gex_snapshots', overlap)} UNION ALL {_keys('gex_strikes', overlap)}) USING ({KEY})"
    )
    present = _count(connection, "known_keys")
    differing = _find_differing(connection, snapshots, strikes, overlap) if present else 0
    return Overlap(present, differing, overlap.first_ms, overlap.last_ms)


def insert_unknown(
    connection: duckdb.DuckDBPyConnection, snapshots: str, strikes: str, *, source: str, import_id: int
) -> tuple[int, int]:
    """Insert what is not in `known_keys` and return how many snapshots and strikes; arguments as for `insert_new`."""
    origin = [source, import_id]
    # Weighing FSST for the texts, which are the same in all strikes, would take a tenth of the time.
    connection.execute("SET disabled_compression_methods = 'fsst'")
    inserted_strikes = _insert(connection, "gex_strikes", STRIKE_COLUMNS, strikes, origin)
    connection.execute("RESET disabled_compression_methods")
    return _insert(connection, "gex_snapshots", SNAPSHOT_COLUMNS, snapshots, origin), inserted_strikes


def delete_differing(connection: duckdb.DuckDBPyConnection, overlap: Overlap) -> None:
    """Delete the stored rows of `differing_keys`, so that the offered ones are inserted instead of them."""
    for table in ("gex_snapshots", "gex_strikes"):
        connection.execute(f"DELETE FROM {table} WHERE {is_differing(overlap)}")
    connection.execute(f"DELETE FROM known_keys WHERE ({KEY}) IN (SELECT ({KEY}) FROM differing_keys)")


def is_differing(overlap: Overlap) -> str:
    """Return a condition that the stored rows of `differing_keys` meet."""
    return (
        f"{overlap.time_range} AND (timestamp, ticker, coalesce(endpoint, 'gex_zero')) "
        f"IN (SELECT ({KEY}) FROM differing_keys)"
    )


def rows_sql(
    connection: duckdb.DuckDBPyConnection, table: str, columns: tuple[str, ...], *, in_own_types: bool = False
) -> str:
    """Return a SELECT of a table with the declared types, whatever types and empty endpoints a user's file has.

    Args:
        connection: of the database file.
        table: `gex_snapshots` or `gex_strikes`.
        columns: which of its columns.
        in_own_types: leave numbers in the types of the user's file, as a person would be shown them.
    """
    expressions = {
        name: f"TRY_CAST({name} AS {declared})"
        for name, (_, declared) in _foreign_types(connection, table, columns).items()
        if name in WHOLE_COLUMNS or not in_own_types
    }
    expressions["endpoint"] = "coalesce(endpoint, 'gex_zero')"
    if "priors" in columns and "[]" not in column_type(connection, table, "priors"):
        expressions["priors"] = "TRY_CAST(TRY_CAST(priors AS JSON) AS DOUBLE[])"
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
        f"AND {of_feed(feed, table)}"
    )


def of_feed(feed: Feed, table: str = "gex_snapshots") -> str:
    """Return a condition that the stored rows of a feed meet."""
    return f"ticker = '{feed.ticker}' AND coalesce({table}.endpoint, 'gex_zero') = '{feed.endpoint}'"


def checksum_sql(columns: tuple[str, ...]) -> str:
    """Return an aggregate over the columns that does not depend on the order of the rows."""
    told_apart = (*columns, "priors IS NULL") if "priors" in columns else columns
    return f"coalesce(sum(hash({', '.join(told_apart)})::HUGEINT), 0)"


def stored_for_comparison(
    connection: duckdb.DuckDBPyConnection, table: str, columns: tuple[str, ...], condition: str
) -> str:
    """Return a relation of stored rows with their origin, in the form that is compared."""
    values = rows_sql(connection, table, (*columns, "source", "import_id"), in_own_types=True)
    return f"(SELECT {_without_blanks(columns)} FROM ({values}) WHERE {condition})"


def offered_for_comparison(
    connection: duckdb.DuckDBPyConnection, table: str, columns: tuple[str, ...], offered: str, condition: str
) -> str:
    """Return a relation of offered rows as they would read back, in the form that is compared."""
    rows = as_read_back(connection, table, columns, offered, in_own_types=True)
    return f"(SELECT {_without_blanks(columns)} FROM {rows} WHERE {condition})"


def as_read_back(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: tuple[str, ...],
    offered: str,
    *,
    in_own_types: bool = False,
) -> str:
    """Return a relation of offered rows as `rows_sql` would read them back; `offered` itself where types are ours."""
    replaced = ", ".join(
        f"TRY_CAST({name} AS {own}) AS {name}"
        if in_own_types and name not in WHOLE_COLUMNS
        else f"TRY_CAST(TRY_CAST({name} AS {own}) AS {declared}) AS {name}"
        for name, (own, declared) in _foreign_types(connection, table, columns[3:]).items()
        if name != "priors" or "[]" in own  # as JSON text they keep every number as it is
    )
    return f"(SELECT * REPLACE ({replaced}) FROM {offered})" if replaced else offered


def _foreign_types(
    connection: duckdb.DuckDBPyConnection, table: str, columns: tuple[str, ...]
) -> dict[str, tuple[str, str]]:
    """Return the columns that a user's file has with another type than the declared one: that type, and this."""
    types = column_types(connection, table)
    declared = {name: TABLES[table][name].partition(" DEFAULT")[0] for name in columns}
    return {name: (types[name], kind) for name, kind in declared.items() if name in types and types[name] != kind}


def _without_blanks(columns: tuple[str, ...]) -> str:
    texts = {name: f"CAST({name} AS VARCHAR)" for name in _JSON_COLUMNS if name in columns}
    replaced = ", ".join(
        f"coalesce(CAST(TRY(json({text})) AS VARCHAR), {text}) AS {name}" for name, text in texts.items()
    )
    return f"* REPLACE ({replaced})" if replaced else "*"


def _keys(table: str, overlap: Overlap) -> str:
    """Return a SELECT of the keys a table has in the offered stretch of time."""
    key = "timestamp, ticker, coalesce(endpoint, 'gex_zero') AS endpoint"
    return f"SELECT {key} FROM {table} WHERE {overlap.time_range}"


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, columns: tuple[str, ...], offered: str, origin: list[object]
) -> int:
    values = list(columns)
    if "priors" in columns and "[]" not in column_type(connection, table, "priors"):
        values[columns.index("priors")] = "CAST(to_json(priors) AS VARCHAR)"
    row = fetch_row(
        connection,
        f"INSERT INTO {table} ({', '.join(columns)}, source, import_id) "
        f"SELECT {', '.join(values)}, ?, ? FROM {offered} ANTI JOIN known_keys USING ({KEY})",
        origin,
    )
    return int(row[0]) if row else 0


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    row = fetch_row(connection, f"SELECT count(*) FROM {relation}")
    return int(row[0]) if row else 0


def _find_differing(connection: duckdb.DuckDBPyConnection, snapshots: str, strikes: str, overlap: Overlap) -> int:
    """Fill `differing_keys` by checksums of both sides, `ladder_differs` telling whose strikes need a closer look."""
    known = f"{overlap.time_range} AND ({KEY}) IN (SELECT ({KEY}) FROM known_keys)"
    of_the_feeds = " AND ".join(f"{name} IN (SELECT {name} FROM known_keys)" for name in ("ticker", "endpoint"))
    stored_rows = f"{overlap.time_range} AND {of_the_feeds}"
    offered = _contents(
        offered_for_comparison(connection, "gex_snapshots", SNAPSHOT_COLUMNS, snapshots, known),
        offered_for_comparison(connection, "gex_strikes", STRIKE_COLUMNS, strikes, overlap.time_range),
    )
    stored = _contents(
        stored_for_comparison(connection, "gex_snapshots", SNAPSHOT_COLUMNS, stored_rows),
        stored_for_comparison(connection, "gex_strikes", STRIKE_COLUMNS, stored_rows),
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE differing_keys AS "
        f"SELECT {KEY}, coalesce(NOT bool_or(ladder = stored_ladder), true) AS ladder_differs FROM ({offered}) "
        f"LEFT JOIN (SELECT {KEY}, content AS stored_content, ladder AS stored_ladder FROM ({stored})) USING ({KEY}) "
        f"GROUP BY {KEY} HAVING NOT coalesce(bool_or(content = stored_content AND ladder = stored_ladder), false)"
    )
    return _count(connection, "differing_keys")


def _contents(snapshots: str, strikes: str) -> str:
    """Return a SELECT of each key with a checksum of its snapshot and one of its ladder, 0 without strikes."""
    return (
        f"SELECT {KEY}, content, coalesce(ladder, 0) AS ladder "
        f"FROM (SELECT {KEY}, hash({', '.join(SNAPSHOT_VALUES)}) AS content FROM {snapshots}) LEFT JOIN "
        f"(SELECT {KEY}, {checksum_sql(STRIKE_VALUES)} AS ladder FROM {strikes} GROUP BY ALL) USING ({KEY})"
    )
