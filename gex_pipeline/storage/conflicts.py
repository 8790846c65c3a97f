"""Offered observations that differ from the stored ones: one row for each differing field, in a Parquet report."""

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from gex_pipeline.feeds import Feed
from gex_pipeline.storage.files import publish
from gex_pipeline.storage.snapshots import (
    KEY,
    SNAPSHOT_COLUMNS,
    SNAPSHOT_VALUES,
    STRIKE_COLUMNS,
    STRIKE_VALUES,
    offered_for_comparison,
    stored_for_comparison,
)
from gex_pipeline.trading_days import new_york_time

CONFLICTS_SCHEMA = pa.schema(
    [
        ("timestamp", pa.int64()),
        ("ticker", pa.string()),
        ("endpoint", pa.string()),
        ("strike", pa.float64()),
        ("field", pa.string()),
        ("stored", pa.string()),
        ("offered", pa.string()),
        ("stored_source", pa.string()),
        ("stored_import_id", pa.int64()),
        ("import_id", pa.int64()),
    ]
)
STRETCH_SNAPSHOTS = 2000
# Fields that stand for a snapshot or a strike as a whole, which one side lacks.
_PRESENCE = ("timestamp", "strike")
_TWINS = f"row_number() OVER (PARTITION BY {KEY}, strike ORDER BY gamma, oi_gamma) AS twin"


def conflicts_path(root: Path, feed: Feed, date: dt.date, sha256: str) -> Path:
    """Return where the report of one history file goes; another file of the same day has another place."""
    return root / "gexbot" / feed.ticker / feed.endpoint / f"{date:%Y%m%d}-{sha256[:12]}.parquet"


def write_conflicts(
    connection: duckdb.DuckDBPyConnection, path: Path, snapshots: str, strikes: str, import_id: int
) -> None:
    """Publish what differs between `differing_keys` as offered and as stored, in the order of time.

    Its columns are those of CONFLICTS_SCHEMA; timestamp in epoch ms UTC, strike NULL for a snapshot's field, stored
    and offered as text (doubles in full precision, JSON without blanks), stored_source and stored_import_id NULL for
    legacy rows, import_id that of the file that offered. A strike that only one side has is one row whose field is
    `strike`; a snapshot of which only strikes are stored is one whose field is `timestamp`.

    Call it after `find_overlap`, in the same transaction and before anything is inserted.
    """
    with publish(path) as beside, pq.ParquetWriter(beside, CONFLICTS_SCHEMA, compression="zstd") as report:
        for first_ms, last_ms in _stretches(connection):
            during = f"timestamp BETWEEN {first_ms:d} AND {last_ms:d}"
            differing = connection.sql(
                f"SELECT {KEY}, strike, field, stored, offered, source, import_id, {import_id:d}::BIGINT "
                f"FROM ({_snapshot_fields(connection, snapshots, during)} "
                f"UNION ALL {_strike_fields(connection, strikes, during)}) ORDER BY ALL"
            )
            report.write_table(differing.to_arrow_table().rename_columns(CONFLICTS_SCHEMA.names))


def summarise_conflicts(path: Path, examples: int = 5) -> tuple[int, list[str]]:
    """Return how many fields a report lists, and its first lines in words."""
    report = pq.ParquetFile(path)
    first = next(report.iter_batches(batch_size=examples), None)
    return report.metadata.num_rows, [_in_words(row) for row in first.to_pylist()] if first else []


def _in_words(row: dict[str, Any]) -> str:
    where = new_york_time(row["timestamp"]).isoformat()
    if row["strike"] is not None:
        where += f" strike {row['strike']}"
    origin = f" ({row['stored_source'] or 'no source'})"
    if row["field"] in _PRESENCE:
        return f"{where}: only stored{origin}" if row["offered"] is None else f"{where}: only offered"
    return f"{where} {row['field']}: stored {row['stored']}{origin}, offered {row['offered']}"


def _stretches(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, int]]:
    """Part the differing keys by time, so that a whole day that differs needs no more memory than a part of it."""
    return connection.execute(
        "SELECT min(timestamp), max(timestamp) FROM (SELECT timestamp, "
        f"dense_rank() OVER (ORDER BY timestamp) // {STRETCH_SNAPSHOTS} AS stretch FROM differing_keys) "
        "GROUP BY stretch ORDER BY 1"
    ).fetchall()


def _snapshot_fields(connection: duckdb.DuckDBPyConnection, snapshots: str, during: str) -> str:
    offered = offered_for_comparison(connection, "gex_snapshots", SNAPSHOT_COLUMNS, snapshots, during)
    stored = stored_for_comparison(connection, "gex_snapshots", SNAPSHOT_COLUMNS, during)
    return (
        f"SELECT {KEY}, NULL::DOUBLE AS strike, {_differences('timestamp', SNAPSHOT_VALUES)}, source, import_id "
        f"FROM (SELECT *, timestamp AS there FROM {offered} SEMI JOIN differing_keys USING ({KEY})) AS o "
        f"LEFT JOIN (SELECT *, timestamp AS there FROM {stored}) AS s USING ({KEY})"
    )


def _strike_fields(connection: duckdb.DuckDBPyConnection, strikes: str, during: str) -> str:
    """Pair the strikes of differing ladders; those that a ladder has more than once are paired in order."""
    offered = offered_for_comparison(connection, "gex_strikes", STRIKE_COLUMNS, strikes, during)
    stored = stored_for_comparison(connection, "gex_strikes", STRIKE_COLUMNS, during)
    ladders = f"SEMI JOIN (FROM differing_keys WHERE ladder_differs) USING ({KEY})"
    return (
        f"SELECT {KEY}, strike::DOUBLE AS strike, {_differences('strike', STRIKE_VALUES[1:])}, source, import_id "
        f"FROM (SELECT *, strike AS there, {_TWINS} FROM {offered} {ladders}) AS o "
        f"FULL JOIN (SELECT *, strike AS there, {_TWINS} FROM {stored} {ladders}) AS s USING ({KEY}, strike, twin)"
    )


def _differences(presence: str, names: tuple[str, ...]) -> str:
    """Return the columns field, stored and offered of what differs between `o` and `s`, one row for each.

    A side that is missing as a whole is one difference, named `presence`.
    """
    differing = ", ".join(
        f"CASE WHEN o.{name} IS DISTINCT FROM s.{name} THEN {_field(name, name)} END" for name in names
    )
    return (
        f"unnest(CASE WHEN o.there IS NULL OR s.there IS NULL THEN [{_field(presence, 'there')}] "
        f"ELSE list_filter([{differing}], lambda each: each IS NOT NULL) END, max_depth := 2)"
    )


def _field(name: str, column: str) -> str:
    return f"{{'field': '{name}', 'stored': CAST(s.{column} AS VARCHAR), 'offered': CAST(o.{column} AS VARCHAR)}}"
