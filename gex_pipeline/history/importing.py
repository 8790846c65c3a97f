"""From staged Parquet into the database: one lease, one transaction, all rows or none."""

import time
from dataclasses import dataclass

from gex_pipeline.errors import MalformedFileError
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.staging import StagedSummary, read_summary
from gex_pipeline.settings import Settings
from gex_pipeline.storage.backups import ensure_recent_backup
from gex_pipeline.storage.lease import lease, quoted, transaction
from gex_pipeline.storage.lineage import ImportCounts, find_import, next_import_id, record_import
from gex_pipeline.storage.schema import ensure_schema
from gex_pipeline.storage.snapshots import insert_new

LEASE_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class ImportResult:
    """What an import did.

    Attributes:
        import_id: its line in `data_lineage`.
        counts: rows inserted and rows that were there.
        unchanged_since: the earlier import of the same bytes, None when there was none.
        summary: what staging found.
        lease_seconds: how long the database was held.
    """

    import_id: int
    counts: ImportCounts
    unchanged_since: int | None
    summary: StagedSummary
    lease_seconds: float


def import_staged(settings: Settings, partition: Partition, run_id: str | None) -> ImportResult:
    """Insert the staged rows of a partition that the database does not have yet.

    A file whose bytes were imported into this partition before changes nothing but the lineage, which notes it.

    Raises:
        MalformedFileError: nothing is staged, or the two staged files are of different history files.
        LeaseTimeoutError: the database stayed busy.
        BackupError: a backup was due and could not be made; nothing was changed.
    """
    paths = partition.staged(settings, "snapshots"), partition.staged(settings, "strikes")
    summary, other = map(read_summary, paths)
    if summary.sha256 != other.sha256:
        raise MalformedFileError(
            f"the staged files of {partition.key} come from different downloads; materialize staged_snapshots again"
        )
    feed, date = partition.feed, partition.date
    purpose = f"import {partition.key}"
    ensure_recent_backup(settings, reason=f"before the import of {partition.key}")
    with lease(settings.database_path, purpose=purpose, timeout_seconds=LEASE_TIMEOUT_SECONDS) as connection:
        started = time.monotonic()
        ensure_schema(connection)
        with transaction(connection):
            earlier = find_import(connection, feed, date, summary.sha256)
            import_id = next_import_id(connection)
            counts = ImportCounts(0, 0, summary.snapshots, 0)
            if earlier is None:
                staged = [f"read_parquet('{quoted(path)}')" for path in paths]
                counts = insert_new(connection, *staged, source="history", import_id=import_id)
            record_import(
                connection,
                import_id=import_id,
                source_file=summary.source,
                sha256=summary.sha256,
                feed=feed,
                date=date,
                counts=counts,
                status="imported" if earlier is None else "unchanged",
                run_id=run_id,
            )
    held = time.monotonic() - started
    return ImportResult(import_id, counts, earlier.import_id if earlier else None, summary, held)
