"""Where rows came from: one line in `data_lineage` for every history file and every journal segment."""

import datetime as dt
from dataclasses import dataclass

import duckdb

from gex_pipeline.clock import epoch_ms
from gex_pipeline.feeds import Feed
from gex_pipeline.storage.lease import fetch_row


@dataclass(frozen=True)
class ImportCounts:
    """What an insert did, in rows.

    Attributes:
        snapshots: inserted.
        strikes: inserted.
        present: snapshots whose key was there already.
        differing: those of `present` whose stored values differ from the offered ones; the stored ones stay.
    """

    snapshots: int
    strikes: int
    present: int
    differing: int


@dataclass(frozen=True)
class EarlierImport:
    """A completed import of the same bytes into the same partition; rows as in `ImportCounts`."""

    import_id: int
    snapshots: int
    differing: int
    import_timestamp_ms: int


def next_import_id(connection: duckdb.DuckDBPyConnection) -> int:
    """Return an unused id; call it inside the transaction that uses it."""
    row = fetch_row(connection, "SELECT coalesce(max(import_id), 0) + 1 FROM data_lineage")
    return int(row[0]) if row else 1


def find_import(
    connection: duckdb.DuckDBPyConnection, feed: Feed, date: dt.date, sha256: str
) -> EarlierImport | None:
    """Return the completed import of these bytes into this partition, if there is one."""
    row = fetch_row(
        connection,
        "SELECT import_id, records_imported, coalesce(records_differing, 0), import_timestamp FROM data_lineage "
        "WHERE status = 'imported' AND sha256 = ? AND ticker = ? AND endpoint = ? AND date = ? "
        "ORDER BY import_id LIMIT 1",
        [sha256, feed.ticker, feed.endpoint, date],
    )
    return EarlierImport(*row) if row else None


def record_import(
    connection: duckdb.DuckDBPyConnection,
    *,
    import_id: int,
    source_file: str,
    sha256: str,
    feed: Feed,
    date: dt.date,
    counts: ImportCounts,
    status: str,
    run_id: str | None,
) -> None:
    """Write the line of a history import; `status` is `imported` or `unchanged`."""
    connection.execute(
        "INSERT INTO data_lineage BY NAME SELECT $import_id AS import_id, $source_file AS source_file, "
        "$sha256 AS sha256, 'history' AS record_type, $ticker AS ticker, $endpoint AS endpoint, $date AS date, "
        "$snapshots AS records_imported, $strikes AS strikes_imported, $present AS records_present, "
        "$differing AS records_differing, $now AS import_timestamp, $status AS status, $run_id AS run_id",
        {
            "import_id": import_id,
            "source_file": source_file,
            "sha256": sha256,
            "ticker": feed.ticker,
            "endpoint": feed.endpoint,
            "date": date,
            "snapshots": counts.snapshots,
            "strikes": counts.strikes,
            "present": counts.present,
            "differing": counts.differing,
            "now": epoch_ms(),
            "status": status,
            "run_id": run_id,
        },
    )


def segment_import_id(connection: duckdb.DuckDBPyConnection, journal: str, segment: int) -> int:
    """Return the import id of a journal segment, adding its line when it is new."""
    name = f"journal/{journal}/{segment:08d}.jsonl"
    row = fetch_row(
        connection, "SELECT import_id FROM data_lineage WHERE record_type = 'live' AND source_file = ?", [name]
    )
    if row:
        return int(row[0])
    import_id = next_import_id(connection)
    connection.execute(
        "INSERT INTO data_lineage BY NAME SELECT ? AS import_id, ? AS source_file, 'live' AS record_type, "
        "0 AS records_imported, 0 AS strikes_imported, 0 AS records_present, 0 AS records_differing, "
        "? AS import_timestamp, 'imported' AS status",
        [import_id, name, epoch_ms()],
    )
    return import_id


def add_to_segment(connection: duckdb.DuckDBPyConnection, import_id: int, counts: ImportCounts) -> None:
    """Add what one batch inserted to its segment's line."""
    connection.execute(
        "UPDATE data_lineage SET records_imported = records_imported + ?, strikes_imported = strikes_imported + ?, "
        "records_present = records_present + ?, records_differing = records_differing + ?, import_timestamp = ? "
        "WHERE import_id = ?",
        [counts.snapshots, counts.strikes, counts.present, counts.differing, epoch_ms(), import_id],
    )
