"""Where rows came from: a line in `data_lineage` for every attempt with a history file and every journal segment."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from gex_pipeline.clock import epoch_ms
from gex_pipeline.feeds import Feed
from gex_pipeline.storage.lease import fetch_row
from gex_pipeline.storage.schema import TABLES


@dataclass(frozen=True)
class ImportCounts:
    """What an insert did, in rows.

    Attributes:
        snapshots: inserted.
        strikes: inserted.
        present: snapshots whose key was there already.
        differing: those of `present` whose stored values differ from the offered ones.
        replaced: those of `differing` that gave way to the offered ones, which `snapshots` counts; the others stay.
    """

    snapshots: int
    strikes: int
    present: int
    differing: int
    replaced: int = 0


@dataclass(frozen=True)
class ImportTotals:
    """All attempts with history files that had one outcome.

    Attributes:
        outcome: `imported`, `unchanged`, `replaced`, `refused` or `failed`.
        attempts: how many.
        snapshots: inserted.
        strikes: inserted.
        present: snapshots whose key was there already.
        differing: those of `present` with other values.
        seconds: what the attempts took, altogether.
    """

    outcome: str
    attempts: int
    snapshots: int
    strikes: int
    present: int
    differing: int
    seconds: float


@dataclass(frozen=True)
class EarlierImport:
    """A completed import of the same bytes into the same partition.

    Attributes:
        snapshots: inserted.
        differing: snapshots that were there with other values and stayed.
    """

    import_id: int
    snapshots: int
    differing: int
    import_timestamp_ms: int


@dataclass(frozen=True)
class FileAttempt:
    """One attempt to import a history file.

    Attributes:
        sha256: None when it could not be downloaded.
        status: `imported`, `unchanged`, `replaced`, `refused` or `failed`.
        snapshots: of the file that are in the database since, whoever brought them; 0 when it was not imported.
        differing: those of them that are stored with other values; 0 when the attempt found nothing to do.
    """

    feed: Feed
    date: dt.date
    sha256: str | None
    status: str
    errors: str | None
    snapshots: int
    differing: int


def next_import_id(connection: duckdb.DuckDBPyConnection) -> int:
    """Return an unused id; call it inside the transaction that uses it."""
    row = fetch_row(connection, "SELECT coalesce(max(import_id), 0) + 1 FROM data_lineage")
    return int(row[0]) if row else 1


def find_import(
    connection: duckdb.DuckDBPyConnection, feed: Feed, date: dt.date, sha256: str
) -> EarlierImport | None:
    """Return the last completed import of these bytes into this partition, if there is one."""
    row = fetch_row(
        connection,
        "SELECT import_id, records_imported, coalesce(records_differing, 0) - coalesce(records_replaced, 0), "
        "import_timestamp FROM data_lineage WHERE status IN ('imported', 'replaced') "
        "AND sha256 = ? AND ticker = ? AND endpoint = ? AND date = ? ORDER BY import_id DESC LIMIT 1",
        [sha256, feed.ticker, feed.endpoint, date],
    )
    return EarlierImport(*row) if row else None


def import_ids(connection: duckdb.DuckDBPyConnection, feed: Feed, date: dt.date, sha256: str) -> list[int]:
    """Return the completed imports of these bytes into this partition, those that replaced rows included."""
    rows = connection.execute(
        "SELECT import_id FROM data_lineage WHERE status IN ('imported', 'replaced') "
        "AND sha256 = ? AND ticker = ? AND endpoint = ? AND date = ? ORDER BY import_id",
        [sha256, feed.ticker, feed.endpoint, date],
    ).fetchall()
    return [row[0] for row in rows]


def imported_files(connection: duckdb.DuckDBPyConnection) -> dict[tuple[Feed, dt.date], frozenset[str]]:
    """Return for each feed and day the SHA-256 of the files that were imported."""
    rows = connection.execute(
        "SELECT ticker, endpoint, date, list(DISTINCT sha256) FROM data_lineage "
        "WHERE record_type = 'history' AND status IN ('imported', 'replaced') GROUP BY ALL"
    ).fetchall()
    return {(Feed(ticker, endpoint), date): frozenset(hashes) for ticker, endpoint, date, hashes in rows}


def imported_at(connection: duckdb.DuckDBPyConnection, feed: Feed, date: dt.date, sha256: str) -> int | None:
    """Return when these bytes were last imported into this partition (epoch ms UTC), None when they never were."""
    row = fetch_row(
        connection,
        "SELECT max(import_timestamp) FROM data_lineage WHERE status IN ('imported', 'unchanged', 'replaced') "
        "AND sha256 = ? AND ticker = ? AND endpoint = ? AND date = ?",
        [sha256, feed.ticker, feed.endpoint, date],
    )
    return int(row[0]) if row and row[0] is not None else None


def list_attempts(connection: duckdb.DuckDBPyConnection) -> list[FileAttempt]:
    """Return every attempt to import a history file, the oldest first."""
    rows = connection.execute(
        "SELECT ticker, endpoint, date, sha256, status, errors, "
        "records_imported + coalesce(records_present, 0) - coalesce(records_replaced, 0), "
        "coalesce(records_differing, 0) - coalesce(records_replaced, 0) "
        "FROM data_lineage WHERE record_type = 'history' ORDER BY import_id"
    ).fetchall()
    return [FileAttempt(Feed(ticker, endpoint), *rest) for ticker, endpoint, *rest in rows]


def record_import(
    connection: duckdb.DuckDBPyConnection,
    *,
    import_id: int,
    source_file: str,
    sha256: str | None,
    feed: Feed,
    date: dt.date,
    counts: ImportCounts,
    status: str,
    run_id: str | None,
    started_at_ms: int,
    errors: str | None = None,
) -> None:
    """Write the line of an attempt to import a history file.

    Args:
        connection: of the database file.
        import_id: an unused id.
        source_file: name of the file, without its folder.
        sha256: of its bytes; None when it could not be downloaded.
        feed: which partition it is for.
        date: its trading day.
        counts: what was done; zeros when nothing was.
        status: `imported`, `unchanged` (the bytes were imported before), `replaced` (imported, and stored rows
            that differed gave way), `refused` (the file is not sound) or `failed` (something else went wrong).
        run_id: the Dagster run, None outside of one.
        started_at_ms: when the attempt began, epoch ms UTC.
        errors: why it was refused or failed; never holds a URL's query string.
    """
    now_ms = epoch_ms()
    line = {
        "import_id": import_id,
        "source_file": source_file,
        "sha256": sha256,
        "record_type": "history",
        "ticker": feed.ticker,
        "endpoint": feed.endpoint,
        "date": date,
        "records_imported": counts.snapshots,
        "strikes_imported": counts.strikes,
        "records_present": counts.present,
        "records_differing": counts.differing,
        "records_replaced": counts.replaced,
        "started_at": started_at_ms,
        "seconds": max(now_ms - started_at_ms, 0) / 1000,
        "import_timestamp": now_ms,
        "status": status,
        "errors": errors,
        "run_id": run_id,
    }
    connection.execute(
        f"INSERT INTO data_lineage ({', '.join(line)}) VALUES ({', '.join('?' * len(line))})", list(line.values())
    )


def list_lineage(
    connection: duckdb.DuckDBPyConnection, wanted: Mapping[str, object], *, limit: int
) -> list[dict[str, Any]]:
    """Return lines with all declared columns, the newest first; columns that an older file lacks are None.

    Args:
        connection: of the database file, which need not be writable.
        wanted: the value a column must have, None for any.
        limit: how many at most.
    """
    columns = TABLES["data_lineage"]
    filters = {name: value for name, value in wanted.items() if value is not None}
    conditions = "".join(f" AND {name} = ?" for name in filters)
    rows = connection.execute(
        f"SELECT {', '.join(columns)} FROM {_lines_sql()} "
        f"WHERE true{conditions} ORDER BY import_timestamp DESC NULLS LAST, import_id DESC LIMIT ?",
        [*filters.values(), limit],
    ).fetchall()
    return [dict(zip(columns, row, strict=True)) for row in rows]


def not_imported_since(connection: duckdb.DuckDBPyConnection, after_ms: int) -> list[dict[str, Any]]:
    """Return for each day whose last attempt was refused or failed after a moment (epoch ms UTC) that attempt.

    They are as `list_lineage` returns them, the newest first.
    """
    columns = TABLES["data_lineage"]
    rows = connection.execute(
        f"SELECT * FROM (SELECT {', '.join(columns)} FROM {_lines_sql()} WHERE record_type = 'history' "
        "QUALIFY row_number() OVER (PARTITION BY ticker, endpoint, date ORDER BY import_id DESC) = 1) "
        "WHERE status IN ('refused', 'failed') AND import_timestamp > ? ORDER BY import_id DESC",
        [after_ms],
    ).fetchall()
    return [dict(zip(columns, row, strict=True)) for row in rows]


def last_imports(connection: duckdb.DuckDBPyConnection) -> dict[tuple[Feed, dt.date], int]:
    """Return for each feed and day when a history file was last imported, or found to be (epoch ms UTC)."""
    rows = connection.execute(
        f"SELECT ticker, endpoint, date, max(import_timestamp) FROM {_lines_sql()} WHERE record_type = 'history' "
        "AND status IN ('imported', 'unchanged', 'replaced') GROUP BY ALL"
    ).fetchall()
    return {(Feed(ticker, endpoint), date): at_ms for ticker, endpoint, date, at_ms in rows}


def total_imports(connection: duckdb.DuckDBPyConnection) -> list[ImportTotals]:
    """Return what all attempts with history files did, outcome by outcome; those that never occurred are left out."""
    sums = ", ".join(
        f"coalesce(sum({column}), 0)::BIGINT"
        for column in ("records_imported", "strikes_imported", "records_present", "records_differing")
    )
    rows = connection.execute(
        f"SELECT status, count(*), {sums}, coalesce(sum(seconds), 0) FROM {_lines_sql()} "
        "WHERE record_type = 'history' AND status IS NOT NULL GROUP BY status ORDER BY status"
    ).fetchall()
    return [ImportTotals(*row) for row in rows]


def _lines_sql() -> str:
    """Return a relation of all lines with all declared columns, empty where an older file lacks them."""
    declared = ", ".join(f"NULL::{kind} AS {name}" for name, kind in TABLES["data_lineage"].items())
    return f"(SELECT {declared} WHERE false UNION ALL BY NAME SELECT * FROM data_lineage)"


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
        "0 AS records_replaced, "
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


def note_segment_errors(
    connection: duckdb.DuckDBPyConnection, import_id: int, errors: str, *, is_missing: bool = False
) -> None:
    """Say in a segment's line what of it could not be loaded; the first time stays, the log has all."""
    connection.execute(
        "UPDATE data_lineage SET errors = coalesce(errors, ?), status = if(?, 'failed', status) WHERE import_id = ?",
        [errors, is_missing, import_id],
    )
