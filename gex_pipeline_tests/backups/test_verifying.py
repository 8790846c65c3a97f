"""Verifying a backup: what differs is found and named."""

import datetime as dt
import os
import subprocess
import sys

import duckdb
import msgspec
import pytest

from gex_pipeline.backups.creating import create_backup, ensure_recent_backup
from gex_pipeline.backups.folder import last_verified, list_backups, manifest_path, write_manifest
from gex_pipeline.backups.verifying import verify_backup
from gex_pipeline.errors import BackupError
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease


def test_a_sound_backup_is_found_sound_and_the_time_is_noted(settings: Settings) -> None:
    backup = create_backup(settings, reason="test")
    verified = verify_backup(settings)
    assert verified.manifest.problems == []
    assert verified.manifest.verified_at is not None
    assert backup.manifest.verified_at is not None
    assert verified.manifest.verified_at > backup.manifest.verified_at
    assert list_backups(settings.database_backups_dir) == [verified]


def test_a_byte_that_changed_is_found_and_the_backup_no_longer_counts(settings: Settings) -> None:
    with lease(settings.database_path, purpose="fill") as connection:
        connection.execute("CREATE TABLE large AS SELECT random() AS x FROM range(500000)")
    backup = create_backup(settings, reason="test")
    with backup.path.open("r+b") as file:
        file.seek(backup.path.stat().st_size // 2)
        changed = bytes([file.read(1)[0] ^ 1])
        file.seek(-1, os.SEEK_CUR)
        file.write(changed)
    problems = verify_backup(settings).manifest.problems
    assert problems[0] == "the file's SHA-256 is not the one it had"
    assert problems[1].startswith("large cannot be read: ")
    assert len(problems) == 2
    listed = list_backups(settings.database_backups_dir)
    assert last_verified(listed, dt.datetime.now(dt.UTC)) is None
    assert ensure_recent_backup(settings, reason="test") is not None


def test_a_truncated_backup_is_found(settings: Settings) -> None:
    backup = create_backup(settings, reason="test")
    size_bytes = backup.path.stat().st_size
    os.truncate(backup.path, size_bytes // 3)
    problems = verify_backup(settings).manifest.problems
    assert problems[0] == f"the file has {size_bytes // 3:,} bytes instead of {size_bytes:,}"
    assert len(problems) >= 3


def test_a_table_that_differs_is_named_with_the_difference(settings: Settings) -> None:
    backup = create_backup(settings, reason="test")
    with duckdb.connect(backup.path) as connection:
        connection.execute("UPDATE gex_strikes SET gamma = 1 WHERE timestamp = 7")
        connection.execute("DELETE FROM mine.gex_strikes WHERE i < 3")
        connection.execute("DROP TABLE nothing")
        connection.execute("CREATE TABLE new AS SELECT 1")
    problems = verify_backup(settings, f"{backup.name}.db").manifest.problems
    assert "the file's SHA-256 is not the one it had" in problems
    assert problems[-4:] == [
        "gex_strikes has its 1,000 rows, but other values in them",
        "mine.gex_strikes has 7 rows instead of 10",
        "new was not there, and has 1 rows",
        "nothing is missing, with its 0 rows",
    ]


def test_checksums_of_another_duckdb_are_not_compared(settings: Settings) -> None:
    backup = create_backup(settings, reason="test")
    older = {name: msgspec.structs.replace(each, checksum="7") for name, each in backup.manifest.tables.items()}
    write_manifest(backup.path, msgspec.structs.replace(backup.manifest, tables=older))
    assert verify_backup(settings).manifest.problems
    write_manifest(backup.path, msgspec.structs.replace(backup.manifest, tables=older, duckdb_version="1.9"))
    assert verify_backup(settings).manifest.problems == []


def test_on_a_full_disk_the_verdict_is_told_all_the_same(settings: Settings) -> None:
    create_backup(settings, reason="test")
    code = """
import resource, sys
from pathlib import Path
from gex_pipeline.settings import load_settings
from gex_pipeline.backups.verifying import verify_backup
resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
print(verify_backup(load_settings(data_dir=Path(sys.argv[1]))).manifest.problems)
"""
    command = [sys.executable, "-c", code, str(settings.data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert "cannot be noted in its manifest: File too large" in done.stderr
    assert len(list_backups(settings.database_backups_dir)) == 1


def test_a_manifest_nobody_can_read_is_told_and_its_backup_stays(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    backup = create_backup(settings, reason="test")
    manifest_path(backup.path).write_text("{")
    with pytest.raises(BackupError, match="cannot be read"):
        verify_backup(settings, backup.name)
    create_backup(settings, reason="test")
    assert backup.path.exists()
    assert any("cannot be read" in record.getMessage() for record in caplog.records)
