"""Attempts that did not end in an import: refused or failed, each with a line in the lineage."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from gex_pipeline.backups.creating import ensure_recent_backup
from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import GexError, MalformedFileError, NoSourceError, PermanentError, without_secrets
from gex_pipeline.history.download import find_source
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.staging import read_summary
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease, transaction
from gex_pipeline.storage.lineage import ImportCounts, list_lineage, next_import_id, record_import
from gex_pipeline.storage.schema import ensure_schema

LEASE_TIMEOUT_SECONDS = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """One try to import a history file.

    Attributes:
        file: its name without the folder, None while no file is known: then there is nothing to record.
        sha256: of its bytes; None when it could not be downloaded.
        run_id: the Dagster run.
        started_at_ms: when the step began, epoch ms UTC.
    """

    partition: Partition
    file: str | None
    sha256: str | None
    run_id: str | None
    started_at_ms: int

    @classmethod
    def of_staged(cls, settings: Settings, partition: Partition, run_id: str | None) -> "Attempt":
        """Begin an attempt to go on with what is staged."""
        try:
            summary = read_summary(partition.staged(settings, "snapshots"))
        except MalformedFileError:
            return cls(partition, None, "", run_id, epoch_ms())
        return cls(partition, summary.source, summary.sha256, run_id, epoch_ms())


@contextmanager
def recorded(settings: Settings, attempt: Attempt) -> Iterator[None]:
    """Record the error that ends the block and let it pass: refused when it is permanent, failed otherwise."""
    try:
        yield
    except PermanentError as error:
        record_attempt(settings, attempt, "refused", str(error))
        raise
    except Exception as error:
        text = str(error) if isinstance(error, GexError) else f"{type(error).__name__}: {error}"
        record_attempt(settings, attempt, "failed", text)
        raise


def record_not_obtained(settings: Settings, partition: Partition, run_id: str, error: GexError) -> None:
    """Write the line of a file that a run could not download; none where nobody was asked for one."""
    if not isinstance(error, NoSourceError):
        name = f"{partition.source(settings).name}.json"
        record_attempt(settings, Attempt(partition, name, None, run_id, epoch_ms()), "failed", str(error))


def record_cut_off(settings: Settings, partition: Partition, run_id: str, errors: str) -> None:
    """Write the line of an import whose process ended in the middle, unless the run has a line already."""
    file = find_source(settings, partition)
    try:
        if file is None or not settings.database_path.exists() or _has_line(settings, run_id):
            return
    except (GexError, duckdb.Error) as error:
        logger.warning("that the import of %s was cut off is not in the lineage: %s", partition.key, error)
        return
    record_attempt(settings, Attempt(partition, file.path.name, file.sha256, run_id, epoch_ms()), "failed", errors)


def _has_line(settings: Settings, run_id: str) -> bool:
    with lease(settings.database_path, purpose="look for a run", timeout_seconds=LEASE_TIMEOUT_SECONDS) as connection:
        ensure_schema(connection)
        return bool(list_lineage(connection, {"run_id": run_id}, limit=1))


def record_attempt(settings: Settings, attempt: Attempt, status: str, errors: str) -> None:
    """Write the line of an attempt that was refused or failed, if the database is to be had within seconds.

    The attempt's own error is what matters, so that none of this function's gets in its way; no query string is kept.
    """
    if attempt.file is None:
        return
    partition = attempt.partition
    purpose = f"record that {partition.key} was {status}"
    try:
        ensure_recent_backup(settings, reason="before its first use", lease_timeout_seconds=LEASE_TIMEOUT_SECONDS)
        with lease(settings.database_path, purpose=purpose, timeout_seconds=LEASE_TIMEOUT_SECONDS) as connection:
            ensure_schema(connection)
            with transaction(connection):
                record_import(
                    connection,
                    import_id=next_import_id(connection),
                    source_file=attempt.file,
                    sha256=attempt.sha256,
                    feed=partition.feed,
                    date=partition.date,
                    counts=ImportCounts(0, 0, 0, 0),
                    status=status,
                    run_id=attempt.run_id,
                    started_at_ms=attempt.started_at_ms,
                    errors=without_secrets(errors),
                )
    except (GexError, duckdb.Error, OSError) as error:
        logger.warning("that %s was %s is not in the lineage: %s", partition.key, status, error)
