"""Making backups of the database, while the system runs.

The file is copied twice: first while others write it, then under a lease, which takes no longer than reading it and
writing what changed since. What proves the copy is the SHA-256 of every block as it was read under the lease,
compared with what the copy gives back from the disk; so what is then read out of the copy, row counts and checksums
of every table, is what the database held.
"""

import datetime as dt
import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb

from gex_pipeline.backups.contents import TableContent, count_rows, has_rows, opened, read_contents
from gex_pipeline.backups.copying import MAKE_ROOM, Copied, clone_or_copy, read_back
from gex_pipeline.backups.folder import (
    Backup,
    Manifest,
    Progress,
    expired,
    is_due,
    list_backups,
    new_path,
    no_progress,
    remove_backup,
    remove_unfinished,
    turn,
    write_manifest,
)
from gex_pipeline.errors import BackupError, DamagedDatabaseError, DiskFullError, PermanentError, TransientError
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import beside, sync
from gex_pipeline.storage.lease import fold_log_in, has_log, lease

LEASE_TIMEOUT_SECONDS = 300.0
_FOLDING_ATTEMPTS = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Taken:
    """What was copied while the database was held."""

    at: dt.datetime
    copied: Copied
    rows: dict[str, int]
    lease_seconds: float


def create_backup(
    settings: Settings,
    *,
    reason: str,
    progress: Progress = no_progress,
    lease_timeout_seconds: float = LEASE_TIMEOUT_SECONDS,
) -> Backup:
    """Back the database up, verify the copy and remove the backups that may go.

    Args:
        settings: which database, which backups to keep.
        reason: what the backup is for, such as `nightly`; it is kept in the manifest.
        progress: told how far it is.
        lease_timeout_seconds: how long to wait for the database.

    Raises:
        BackupError: no backup was made, and nothing is left of it; the message says what to do.
        DiskFullError: the same, for want of room.
        PermanentError: there is no database, or it cannot be opened.
        LeaseTimeoutError: the database stayed busy.
        TransientError: another process makes backups, or writes the database, without end.
    """
    if not settings.database_path.exists():
        raise PermanentError(
            f"there is no database at {settings.database_path} yet; it is created when something is loaded"
        )
    with turn(settings.database_backups_dir):
        return _create(settings, reason, progress, lease_timeout_seconds)


def ensure_recent_backup(
    settings: Settings,
    *,
    reason: str,
    progress: Progress = no_progress,
    lease_timeout_seconds: float = LEASE_TIMEOUT_SECONDS,
) -> Backup | None:
    """Back the database up when it has rows and its last verified backup is older than GEX_BACKUP_MAX_AGE_HOURS.

    Returns:
        The backup that was made, None when none was needed.

    Raises:
        as `create_backup`.
    """
    if not _is_due(settings) or not _has_rows(settings.database_path, reason, lease_timeout_seconds):
        return None
    with turn(settings.database_backups_dir):
        if not _is_due(settings):
            return None
        return _create(settings, reason, progress, lease_timeout_seconds)


def _create(settings: Settings, reason: str, progress: Progress, lease_timeout_seconds: float) -> Backup:
    folder = settings.database_backups_dir
    try:
        remove_unfinished(folder)
        backup = _publish(settings.database_path, folder, reason, progress, lease_timeout_seconds)
    except (BackupError, DamagedDatabaseError) as error:
        raise BackupError(f"the database was not backed up: {error}") from error
    except DiskFullError as error:
        raise DiskFullError(f"the database was not backed up: {error}; {MAKE_ROOM}") from error
    except OSError as error:
        raise BackupError(
            f"the database was not backed up: copying it to {folder} failed: {error.strerror}; {MAKE_ROOM}"
        ) from error
    except duckdb.Error as error:
        raise BackupError(
            f"the database was not backed up, it cannot be read: {str(error).splitlines()[0]}"
        ) from error
    _remove_expired(settings)
    logger.info("backed up as %s in %.1f s", backup.path, backup.manifest.seconds)
    return backup


def _publish(database: Path, folder: Path, reason: str, progress: Progress, lease_timeout_seconds: float) -> Backup:
    """Copy, verify, rename, and last of all write the manifest, which is what makes it a backup."""
    started = time.monotonic()
    path = new_path(folder, dt.datetime.now(dt.UTC))
    with beside(path) as temporary:
        taken = _take(database, temporary, progress, lease_timeout_seconds)
        progress("syncing", 0, 0)
        sync(temporary)
        sha256, tables = _prove(taken, temporary, progress)
        temporary.replace(path)
        sync(folder)
    manifest = Manifest(
        created_at=taken.at,
        reason=reason,
        size_bytes=taken.copied.size_bytes,
        sha256=sha256,
        duckdb_version=duckdb.__version__,
        tables=tables,
        method="cloned" if taken.copied.digests is None else "copied",
        lease_seconds=round(taken.lease_seconds, 3),
        seconds=round(time.monotonic() - started, 3),
        verified_at=dt.datetime.now(dt.UTC),
    )
    try:
        return write_manifest(path, manifest)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _take(database: Path, target: Path, progress: Progress, lease_timeout_seconds: float) -> _Taken:
    """Copy the file as it is at one moment: under the lease DuckDB's own shared lock keeps other programs out too."""
    copied = clone_or_copy(database, target, partial(progress, "copying"))
    for _ in range(_FOLDING_ATTEMPTS):
        with lease(
            database, purpose="back it up", timeout_seconds=lease_timeout_seconds, read_only=True
        ) as connection:
            started = time.monotonic()
            if not has_log(database):
                at = dt.datetime.now(dt.UTC)
                rows = count_rows(connection)
                # Closing a file gives up this process's locks on it, so nothing is read after the copy.
                copied = clone_or_copy(database, target, partial(progress, "copying again"), earlier=copied)
                return _Taken(at, copied, rows, time.monotonic() - started)
        fold_log_in(database, lease_timeout_seconds)
    raise TransientError(f"another program keeps writing {database} and leaves its write-ahead log; stop it first")


def _prove(taken: _Taken, copy: Path, progress: Progress) -> tuple[str, dict[str, TableContent]]:
    """Read the copy back; return its SHA-256 and what its tables hold, which is what the database's held."""
    progress("verifying", 0, 0)
    sha256 = read_back(copy, taken.copied)
    with opened(copy) as connection:
        tables, problems = read_contents(connection, partial(progress, "verifying"))
    if problems:
        raise BackupError(
            f"the database itself is damaged, {'; '.join(problems)}; gex backup list shows what can be restored"
        )
    counted = {name: content.rows for name, content in tables.items()}
    if counted != taken.rows:
        raise BackupError(f"the copy has the rows {counted}, the database has {taken.rows}")
    return sha256, tables


def _remove_expired(settings: Settings) -> None:
    now = dt.datetime.now(dt.UTC)
    backups = list_backups(settings.database_backups_dir)
    for backup in expired(backups, now, keep=settings.backup_keep, keep_days=settings.backup_keep_days):
        try:
            remove_backup(backup)
        except OSError as error:
            logger.warning("the old backup %s cannot be removed: %s", backup.path, error.strerror)
        else:
            logger.info("removed the old backup %s", backup.path)


def _is_due(settings: Settings) -> bool:
    backups = list_backups(settings.database_backups_dir)
    return is_due(backups, dt.datetime.now(dt.UTC), settings.backup_max_age_hours)


def _has_rows(database: Path, reason: str, lease_timeout_seconds: float) -> bool:
    if not database.exists() or database.stat().st_size == 0:
        return False
    purpose = f"see whether it needs a backup {reason}"
    with lease(database, purpose=purpose, timeout_seconds=lease_timeout_seconds, read_only=True) as connection:
        return has_rows(connection)
