"""From staged Parquet into the database: one lease, one transaction, all rows or none."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow.parquet as pq

from gex_pipeline.backups.creating import create_backup, ensure_recent_backup
from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import DiskFullError, MalformedFileError
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.history.staging import StagedSummary, damage_told, read_summary
from gex_pipeline.settings import Settings
from gex_pipeline.storage.conflicts import conflicts_path, write_conflicts
from gex_pipeline.storage.disk import require_room
from gex_pipeline.storage.lease import lease, quoted, transaction
from gex_pipeline.storage.lineage import ImportCounts, find_import, next_import_id, record_import
from gex_pipeline.storage.replaced_rows import keep_replaced
from gex_pipeline.storage.request_queue import mark_imported
from gex_pipeline.storage.schema import TABLES, ensure_schema
from gex_pipeline.storage.snapshots import (
    SNAPSHOT_COLUMNS,
    STRIKE_COLUMNS,
    delete_differing,
    find_overlap,
    insert_unknown,
)

LEASE_TIMEOUT_SECONDS = 300.0
# What a row takes in memory, more than it ever takes in the database.
_SNAPSHOT_BYTES, _STRIKE_BYTES = 512, 128
_COLUMNS: dict[Table, tuple[str, ...]] = {"snapshots": SNAPSHOT_COLUMNS, "strikes": STRIKE_COLUMNS}


@dataclass(frozen=True)
class ImportResult:
    """What an import did.

    Attributes:
        import_id: its line in `data_lineage`.
        counts: rows inserted and rows that were there.
        status: `imported`, `unchanged` or `replaced`, as in the lineage.
        unchanged_since: the earlier import of the same bytes when there was nothing left to do, else None.
        conflicts: the report of what differs, of this import or of that earlier one; None when nothing did.
        replaced_rows: the files that keep the rows that were replaced, empty when none were.
        summary: what staging found.
        lease_seconds: how long the database was held.
    """

    import_id: int
    counts: ImportCounts
    status: str
    unchanged_since: int | None
    conflicts: Path | None
    replaced_rows: tuple[Path, ...]
    summary: StagedSummary
    lease_seconds: float


class _Offered(NamedTuple):
    """The staged rows as relations."""

    snapshots: str
    strikes: str


def import_staged(
    settings: Settings, partition: Partition, run_id: str | None, *, replace: bool = False
) -> ImportResult:
    """Insert the staged rows of a partition that the database does not have yet.

    A file whose bytes were imported into this partition before changes nothing but the lineage, which notes it.

    Args:
        settings: where the database, the reports and the backups are.
        partition: whose staged rows.
        run_id: the Dagster run, for the lineage.
        replace: stored snapshots that differ from the file's give way to them, each with its whole ladder, whether
            or not the bytes were imported before. They are kept in the backups first. What is equal, and what the
            file does not have, stays.

    Raises:
        MalformedFileError: nothing is staged, or the two staged files are of different history files.
        LeaseTimeoutError: the database stayed busy.
        BackupError: a backup was due and could not be made; nothing was changed.
        DiskFullError: the disk has too little room, or was filled meanwhile; nothing was changed.
    """
    started_at_ms = epoch_ms()
    summary, other = (read_summary(partition.staged(settings, table)) for table in _COLUMNS)
    if summary.sha256 != other.sha256:
        raise MalformedFileError(
            f"the staged files of {partition.key} come from different downloads; materialize staged_snapshots again"
        )
    feed, date = partition.feed, partition.date
    offered = _Offered(*(staged_rows(settings, partition, table) for table in _COLUMNS))
    report = conflicts_path(settings.conflicts_dir, feed, date, summary.sha256)
    replaced_rows: tuple[Path, ...] = ()
    purpose = f"import {partition.key}"
    _require_room(settings.database_path, summary)
    if replace and settings.database_path.exists():
        create_backup(settings, reason=f"before the replacement of {partition.key}")
    else:
        ensure_recent_backup(settings, reason=f"before the import of {partition.key}")
    with (
        damage_told(settings, partition),
        lease(settings.database_path, purpose=purpose, timeout_seconds=LEASE_TIMEOUT_SECONDS) as connection,
    ):
        started = time.monotonic()
        ensure_schema(connection)
        with transaction(connection):
            earlier = find_import(connection, feed, date, summary.sha256)
            import_id = next_import_id(connection)
            if replace:
                counts, replaced_rows = _insert_replacing(connection, settings, partition, offered, import_id)
            elif earlier is None:
                counts = _insert_new(connection, offered, report, import_id)
            else:
                counts = ImportCounts(0, 0, summary.snapshots, 0)
            is_unchanged = earlier is not None and counts.snapshots == 0
            status = "unchanged" if is_unchanged else "replaced" if counts.replaced else "imported"
            record_import(
                connection,
                import_id=import_id,
                source_file=summary.source,
                sha256=summary.sha256,
                feed=feed,
                date=date,
                counts=counts,
                status=status,
                run_id=run_id,
                started_at_ms=started_at_ms,
            )
            mark_imported(connection, feed, date, run_id)
    held = time.monotonic() - started
    has_report = (earlier.differing if earlier else counts.differing) and not replace and report.exists()
    return ImportResult(
        import_id,
        counts,
        status,
        earlier.import_id if earlier and is_unchanged else None,
        report if has_report else None,
        replaced_rows,
        summary,
        held,
    )


def _require_room(database: Path, summary: StagedSummary) -> None:
    """Refuse before anything is written what may fill the disk; the file keeps what a failed transaction took."""
    database.parent.mkdir(parents=True, exist_ok=True)
    size_bytes = summary.snapshots * _SNAPSHOT_BYTES + summary.strikes * _STRIKE_BYTES
    try:
        require_room(database.parent, size_bytes, f"importing {summary.source} into {database}")
    except DiskFullError as error:
        raise DiskFullError(f"{error}; free space there and try again; nothing was changed") from error


def staged_rows(settings: Settings, partition: Partition, table: Table) -> str:
    """Return the staged rows as a relation with every declared column; one that the file leaves out is NULL."""
    path = partition.staged(settings, table)
    names = pq.read_schema(path).names
    types = TABLES[f"gex_{table}"]
    columns = ", ".join(name if name in names else f"NULL::{types[name]} AS {name}" for name in _COLUMNS[table])
    return f"(SELECT {columns} FROM read_parquet('{quoted(path)}'))"


def _insert_new(
    connection: duckdb.DuckDBPyConnection, offered: _Offered, report: Path, import_id: int
) -> ImportCounts:
    """Insert what is not there yet and report what is there with other values.

    The report gets its name before the commit: whoever is killed in between leaves it for the next attempt, which
    writes the same one, while a re-run after the commit would find nothing to compare.
    """
    overlap = find_overlap(connection, *offered)
    if overlap.differing:
        write_conflicts(connection, report, *offered, import_id)
    inserted = insert_unknown(connection, *offered, source="history", import_id=import_id)
    return ImportCounts(*inserted, overlap.present, overlap.differing)


def _insert_replacing(
    connection: duckdb.DuckDBPyConnection, settings: Settings, partition: Partition, offered: _Offered, import_id: int
) -> tuple[ImportCounts, tuple[Path, ...]]:
    """Insert what is not there yet, and what is there with other values after keeping and deleting that."""
    overlap = find_overlap(connection, *offered)
    kept: tuple[Path, ...] = ()
    if overlap.differing:
        kept = keep_replaced(connection, settings.backups_dir, partition.feed, partition.date, overlap)
        delete_differing(connection, overlap)
    inserted = insert_unknown(connection, *offered, source="history", import_id=import_id)
    return ImportCounts(*inserted, overlap.present, overlap.differing, overlap.differing), kept
