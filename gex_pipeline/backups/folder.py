"""The folder of database backups: which there are, what each one's manifest says, and which may go."""

import datetime as dt
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from filelock import FileLock, Timeout

from gex_pipeline.backups.contents import TableContent
from gex_pipeline.errors import BackupError, TransientError
from gex_pipeline.storage.disk import disk_errors
from gex_pipeline.storage.files import write_whole

TURN_TIMEOUT_SECONDS = 1800.0

_NAME = re.compile(r"\d{8}T\d{6}Z(-\d+)?")
_TEMPORARY = re.compile(r"\.\d{8}T\d{6}Z(-\d+)?\.(db|json)\.\d+\.tmp")

# Called with what is being done, how far it is and where it ends, in bytes or rows.
Progress = Callable[[str, int, int], None]

logger = logging.getLogger(__name__)


class Manifest(msgspec.Struct, frozen=True):
    """What is known of a backup. Times are UTC.

    Attributes:
        created_at: the moment whose state it holds.
        reason: what it was made for.
        size_bytes: of the file, as the database had it.
        sha256: of the file.
        duckdb_version: that made it; the tables' checksums mean something to this version only.
        tables: what each table held.
        method: `cloned` or `copied`.
        lease_seconds: how long the database was held.
        seconds: how long all of it took, with the verification.
        verified_at: when the file last proved to be what this says; None when it no longer does.
        problems: what the last verification found, empty when all was well.
    """

    created_at: dt.datetime
    reason: str
    size_bytes: int
    sha256: str
    duckdb_version: str
    tables: dict[str, TableContent]
    method: Literal["cloned", "copied"]
    lease_seconds: float
    seconds: float
    verified_at: dt.datetime | None
    problems: list[str] = []


@dataclass(frozen=True)
class Backup:
    """A backup: the database file and what its manifest says."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """What it is called on the command line: when it was made."""
        return self.path.stem

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(content.rows for content in self.manifest.tables.values())


def no_progress(_step: str, _done: int, _total: int) -> None:
    """Show nothing."""


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Let one process at a time make, verify, restore or remove backups.

    Raises:
        TransientError: another process was at it for half an hour.
        DiskFullError: the disk is full.
        PermanentError: the folder cannot be made or written.
    """
    lock = FileLock(folder / ".lock")
    try:
        with disk_errors(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock.acquire(timeout=TURN_TIMEOUT_SECONDS)
    except Timeout as error:
        raise TransientError(
            f"another process has been at work in {folder} for {TURN_TIMEOUT_SECONDS / 60:g} minutes"
        ) from error
    except OSError as error:
        raise BackupError(f"no backup can be kept in {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def list_backups(folder: Path) -> list[Backup]:
    """Return the backups that have a file and a manifest, the newest first; manifests nobody can read are logged."""
    backups = []
    for path in folder.glob("*.db"):
        try:
            backups.append(read_backup(path))
        except FileNotFoundError:
            continue
        except BackupError as error:
            logger.warning("%s", error)
    return sorted(backups, key=lambda backup: (backup.manifest.created_at, backup.name), reverse=True)


def find_backup(folder: Path, name: str | None) -> Backup:
    """Return a backup by its name, or the newest.

    Raises:
        BackupError: there is none, or none that has a manifest.
    """
    if name is None:
        backups = list_backups(folder)
        if not backups:
            raise BackupError(f"there is no backup in {folder} yet; gex backup create makes one")
        return backups[0]
    path = folder / f"{Path(name).name.removesuffix('.db')}.db"
    if not path.exists():
        raise BackupError(f"there is no backup {name}; gex backup list shows those there are")
    try:
        return read_backup(path)
    except FileNotFoundError:
        raise BackupError(f"{path} has no manifest: what it should hold is not known, so it is no backup") from None


def read_backup(path: Path) -> Backup:
    """Read the manifest beside a backup's file.

    Raises:
        FileNotFoundError: there is none.
        BackupError: it cannot be read.
    """
    manifest = manifest_path(path)
    try:
        return Backup(path, msgspec.json.decode(manifest.read_bytes(), type=Manifest))
    except msgspec.DecodeError as error:
        raise BackupError(f"the manifest {manifest} cannot be read: {error}") from error


def write_manifest(path: Path, manifest: Manifest) -> Backup:
    """Publish the manifest of a backup's file."""
    write_whole(manifest_path(path), msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    manifest_path(path).chmod(0o600)
    return Backup(path, manifest)


def manifest_path(path: Path) -> Path:
    """Return where the manifest of a backup's file is."""
    return path.with_suffix(".json")


def new_path(folder: Path, now: dt.datetime) -> Path:
    """Return a path nothing has: two backups of one second, or of a clock that was set back, differ."""
    stem = f"{now:%Y%m%dT%H%M%SZ}"
    taken = {path.stem for path in folder.iterdir()}
    number = 1
    name = stem
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return folder / f"{name}.db"


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that died left: temporary files, and files without a manifest or the reverse."""
    for path in folder.iterdir():
        other = {".db": ".json", ".json": ".db"}.get(path.suffix)
        is_half = other and _NAME.fullmatch(path.stem) and not path.with_suffix(other).exists()
        if is_half or _TEMPORARY.fullmatch(path.name):
            logger.info("removing %s, which was never finished", path)
            path.unlink(missing_ok=True)


def remove_backup(backup: Backup) -> None:
    """Remove a backup; dying in the middle leaves a file that is no backup any more."""
    manifest_path(backup.path).unlink(missing_ok=True)
    backup.path.unlink(missing_ok=True)


def last_verified(backups: Iterable[Backup], now: dt.datetime) -> Backup | None:
    """Return the newest backup that is what its manifest says.

    One from the future was made before the clock was set back: how old it is nobody knows, so it is passed over.
    """
    known = [each for each in backups if each.manifest.verified_at is not None and each.manifest.created_at <= now]
    return max(known, key=lambda backup: backup.manifest.created_at, default=None)


def is_due(backups: Iterable[Backup], now: dt.datetime, max_age_hours: float) -> bool:
    """Tell whether the last verified backup is too old, or there is none; an age of 0 turns this off."""
    if max_age_hours == 0:
        return False
    last = last_verified(backups, now)
    return last is None or (now - last.manifest.created_at).total_seconds() > max_age_hours * 3600


def expired(backups: Iterable[Backup], now: dt.datetime, *, keep: int, keep_days: float) -> list[Backup]:
    """Return the backups that may go: older than `keep_days` and not among the newest `keep` verified ones.

    The last verified backup never goes.
    """
    newest = sorted(backups, key=lambda backup: backup.manifest.created_at, reverse=True)
    verified = [backup for backup in newest if backup.manifest.verified_at is not None]
    kept = {backup.name for backup in verified[:keep]}
    if last := last_verified(newest, now):
        kept.add(last.name)
    return [
        backup
        for backup in newest
        if backup.name not in kept and (now - backup.manifest.created_at).total_seconds() > keep_days * 86400
    ]
