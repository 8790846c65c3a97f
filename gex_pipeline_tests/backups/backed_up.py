"""What is in a database and in the folder of its backups."""

import datetime as dt
from pathlib import Path

import duckdb
import msgspec
import pytest

from gex_pipeline.backups.creating import create_backup
from gex_pipeline.backups.folder import Backup, Manifest, write_manifest
from gex_pipeline.errors import GexError
from gex_pipeline.settings import Settings

NOW = dt.datetime(2025, 11, 14, 21, 0, tzinfo=dt.UTC)
ODD_TABLES = [
    'CREATE TABLE "a ""table"" x" ("a b" INTEGER, "c""d" STRUCT(x INTEGER, y VARCHAR[]), "order" MAP(INTEGER, BLOB))',
    """INSERT INTO "a ""table"" x" VALUES (1, {'x': 1, 'y': ['é', NULL]}, MAP {1: 'a'}), (NULL, NULL, NULL)""",
    "CREATE SCHEMA mine",
    "CREATE TABLE mine.gex_strikes AS SELECT range AS i, NULL::INTEGER[] AS l FROM range(10)",
    """CREATE TABLE everything (u UNION(n INTEGER, s VARCHAR), e ENUM ('a', 'b'), b BLOB, h HUGEINT, a INTEGER[3],
    t TIMETZ, i INTERVAL, d DECIMAL(38, 18), g INTEGER GENERATED ALWAYS AS (h + 1))""",
    "INSERT INTO everything VALUES (1, 'a', 'abc', 10, [1, 2, 3], '10:00:00+00', INTERVAL 1 DAY, 1.5)",
    "CREATE TABLE nothing (x INTEGER)",
    "CREATE VIEW seen AS SELECT * FROM everything",
]


def names(settings: Settings) -> set[str]:
    """What is in the folder of backups, without the lock."""
    folder = settings.database_backups_dir
    return {path.name for path in folder.iterdir()} - {".lock"} if folder.exists() else set()


def refused(settings: Settings) -> str:
    with pytest.raises(GexError) as error:
        create_backup(settings, reason="test")
    assert "\n" not in str(error.value)
    return str(error.value)


def backup_of(folder: Path, age: dt.timedelta, *, sound: bool = True) -> Backup:
    """A backup that was made so long before NOW."""
    created = NOW - age
    manifest = Manifest(
        created_at=created,
        reason="test",
        size_bytes=1,
        sha256="",
        duckdb_version=duckdb.__version__,
        tables={},
        method="copied",
        lease_seconds=0,
        seconds=0,
        verified_at=created if sound else None,
    )
    return Backup(folder / f"{created:%Y%m%dT%H%M%SZ}.db", manifest)


def age(backup: Backup, hours: float) -> Backup:
    """Make a backup of now one of so many hours ago."""
    created = dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)
    return write_manifest(backup.path, msgspec.structs.replace(backup.manifest, created_at=created))
