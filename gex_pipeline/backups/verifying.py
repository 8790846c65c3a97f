"""Verifying a backup: what its file holds against what its manifest says."""

import datetime as dt
import logging
from functools import partial

import duckdb
import msgspec

from gex_pipeline.backups.contents import differences, opened, read_contents
from gex_pipeline.backups.folder import Backup, Progress, find_backup, no_progress, turn, write_manifest
from gex_pipeline.errors import BackupError
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import sha256_of

logger = logging.getLogger(__name__)


def verify_backup(settings: Settings, name: str | None = None, progress: Progress = no_progress) -> Backup:
    """Compare a backup, by default the newest, with its manifest and note the verdict there.

    Returns:
        The backup with its new manifest, whose `problems` are empty when all is well.

    Raises:
        BackupError: there is no such backup, or it has no manifest.
    """
    folder = settings.database_backups_dir
    find_backup(folder, name)
    with turn(folder):
        return verify_found(find_backup(folder, name), progress)


def verify_found(backup: Backup, progress: Progress) -> Backup:
    """Compare a backup with its manifest and note the verdict there; call it during one's turn.

    On a full disk the verdict is only logged, so that a backup can still be restored to another one.
    """
    problems = _examine(backup, progress)
    verified_at = None if problems else dt.datetime.now(dt.UTC)
    manifest = msgspec.structs.replace(backup.manifest, verified_at=verified_at, problems=problems)
    try:
        return write_manifest(backup.path, manifest)
    except OSError as error:
        logger.warning("what was found of %s cannot be noted in its manifest: %s", backup.path, error.strerror)
        return Backup(backup.path, manifest)


def _examine(backup: Backup, progress: Progress) -> list[str]:
    """Return what differs between a backup's file and its manifest, one line each."""
    manifest = backup.manifest
    progress("verifying", 0, 0)
    problems = []
    size_bytes = backup.path.stat().st_size
    if size_bytes != manifest.size_bytes:
        problems.append(f"the file has {size_bytes:,} bytes instead of {manifest.size_bytes:,}")
    try:
        if sha256_of(backup.path) != manifest.sha256:
            problems.append("the file's SHA-256 is not the one it had")
        with opened(backup.path) as connection:
            tables, unreadable = read_contents(connection, partial(progress, "verifying"))
    except BackupError as error:
        return [*problems, str(error)]
    except OSError as error:
        return [*problems, f"it cannot be read: {error.strerror}"]
    except duckdb.Error as error:
        return [*problems, f"it cannot be read: {str(error).splitlines()[0]}"]
    readable = {name: content for name, content in manifest.tables.items() if name in tables or not unreadable}
    is_same_version = manifest.duckdb_version == duckdb.__version__
    return problems + unreadable + differences(readable, tables, with_checksums=is_same_version)
