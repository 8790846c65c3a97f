"""Restoring a backup: to a new path, or in place with the old file kept aside."""

import datetime as dt
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb

from gex_pipeline.backups.copying import clone_or_copy, read_back
from gex_pipeline.backups.creating import LEASE_TIMEOUT_SECONDS
from gex_pipeline.backups.folder import Backup, Progress, find_backup, no_progress, turn
from gex_pipeline.backups.verifying import verify_found
from gex_pipeline.errors import BackupError, PermanentError
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import beside, sync
from gex_pipeline.storage.lease import fold_log_in, has_log, log_path, standstill


@dataclass(frozen=True)
class Restored:
    """What a restore did.

    Attributes:
        backup: what was restored.
        path: the file that was written.
        kept_aside: where the file is that was there before, None when there was none.
    """

    backup: Backup
    path: Path
    kept_aside: Path | None


def restore_backup(
    settings: Settings,
    name: str,
    *,
    to: Path | None = None,
    force: bool = False,
    progress: Progress = no_progress,
    lease_timeout_seconds: float = LEASE_TIMEOUT_SECONDS,
) -> Restored:
    """Verify a backup and publish it as `to`, by default as the database itself.

    Args:
        settings: which database and backups.
        name: of the backup.
        to: the file to write.
        force: replace a file that is there; it is kept aside, with its write-ahead log.
        progress: told how far it is.
        lease_timeout_seconds: how long to wait for whoever has the replaced file open.

    Raises:
        BackupError: there is no such backup, it is damaged, or a file is there; nothing was changed.
        LeaseTimeoutError: the file that is there stayed in use; nothing was changed.
    """
    target = to or settings.database_path
    folder = settings.database_backups_dir
    find_backup(folder, name)
    _require_leave(target, force=force)
    with turn(folder):
        backup = verify_found(find_backup(folder, name), progress)
        if backup.manifest.problems:
            raise BackupError(f"{backup.path} is damaged and was not restored: {'; '.join(backup.manifest.problems)}")
        try:
            with beside(target.resolve()) as temporary:
                copied = clone_or_copy(backup.path, temporary, partial(progress, "copying"))
                progress("syncing", 0, 0)
                sync(temporary)
                if read_back(temporary, copied) != backup.manifest.sha256:
                    raise BackupError(f"{backup.path} reads differently each time: the disk is failing")
                if target.exists() or target.resolve() == settings.database_path.resolve():
                    kept_aside = _put_in_place(temporary, target, lease_timeout_seconds, force=force)
                else:
                    temporary.replace(target)
                    sync(target.parent)
                    kept_aside = None
        except OSError as error:
            raise BackupError(f"{backup.name} was not restored to {target}: {error.strerror}") from error
    return Restored(backup, target, kept_aside)


def _put_in_place(temporary: Path, target: Path, lease_timeout_seconds: float, *, force: bool) -> Path | None:
    """Swap the files while nobody has the old one open, so that the next who opens it has the restored one."""
    if has_log(target):
        with suppress(PermanentError, duckdb.Error):  # it is damaged, which may be why it is replaced
            fold_log_in(target, lease_timeout_seconds)
    real = target.resolve()
    with standstill(target, purpose="restore a backup", timeout_seconds=lease_timeout_seconds):
        _require_leave(target, force=force)
        kept_aside = _keep_aside(real) if real.exists() else None
        log = log_path(target)
        if log.exists():
            # Before the rename: DuckDB must never find it beside another file than its own.
            log.rename(log_path(kept_aside or _aside(real)))
        temporary.replace(real)
        sync(real.parent)
    return kept_aside


def _require_leave(target: Path, *, force: bool) -> None:
    if target.is_dir():
        raise BackupError(f"{target} is a folder; name the file to write")
    if target.exists() and not force:
        raise BackupError(
            f"{target} exists; name another path with --to, or replace it with --force (it is kept aside)"
        )


def _keep_aside(path: Path) -> Path:
    """Give the file a second name, so that at every moment there is one under the first."""
    aside = _aside(path)
    try:
        os.link(path, aside)
    except OSError:  # a file system without links
        path.rename(aside)
    return aside


def _aside(path: Path) -> Path:
    stem = f"{path.name}.{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}"
    names = [f"{stem}.replaced", *(f"{stem}-{number}.replaced" for number in range(2, 1000))]
    return next(path.with_name(name) for name in names if not path.with_name(name).exists())
