"""Restoring a backup: to a new path, or in place with the old file kept aside."""

import os
from pathlib import Path

import pytest

from gex_pipeline.backups.creating import create_backup
from gex_pipeline.backups.restoring import restore_backup
from gex_pipeline.errors import BackupError, LeaseTimeoutError
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.processes import child
from gex_pipeline_tests.restore.mine import mine

HOLD_DUCKDB = """
import duckdb
connection = duckdb.connect(sys.argv[1])
print("ready", flush=True)
time.sleep(60)
"""


def set_mine(path: Path, value: int) -> None:
    with lease(path, purpose="change") as connection:
        connection.execute("UPDATE mine SET x = ?", [value])


# To a new path


def test_a_restored_file_is_the_database_as_it_was(filled: Settings, tmp_path: Path) -> None:
    was = filled.database_path.read_bytes()
    backup = create_backup(filled, reason="test")
    set_mine(filled.database_path, 2)
    restored = restore_backup(filled, backup.name, to=tmp_path / "new" / "restored.db")
    assert restored.path.read_bytes() == was
    assert restored.path.stat().st_mode & 0o777 == 0o600
    assert restored.kept_aside is None
    assert [path.name for path in restored.path.parent.iterdir()] == ["restored.db"]
    assert (mine(restored.path), mine(filled.database_path)) == (1, 2)


def test_a_file_that_is_there_is_only_replaced_by_force_and_kept_aside(filled: Settings, tmp_path: Path) -> None:
    backup = create_backup(filled, reason="test")
    target = tmp_path / "there.db"
    target.write_text("something")
    with pytest.raises(BackupError, match="exists; name another path with --to, or replace it with --force"):
        restore_backup(filled, backup.name, to=target)
    assert target.read_text() == "something"
    restored = restore_backup(filled, backup.name, to=target, force=True)
    assert mine(target) == 1
    assert restored.kept_aside is not None
    assert restored.kept_aside.read_text() == "something"


def test_a_folder_is_no_place_for_a_file(filled: Settings, tmp_path: Path) -> None:
    backup = create_backup(filled, reason="test")
    with pytest.raises(BackupError, match="is a folder"):
        restore_backup(filled, backup.name, to=tmp_path, force=True)


# In place


def test_in_place_needs_force_and_keeps_the_old_file_aside(filled: Settings) -> None:
    backup = create_backup(filled, reason="test")
    set_mine(filled.database_path, 2)
    with pytest.raises(BackupError, match="--force"):
        restore_backup(filled, backup.name)
    assert mine(filled.database_path) == 2
    restored = restore_backup(filled, backup.name, force=True)
    assert mine(filled.database_path) == 1
    assert restored.kept_aside is not None
    assert restored.kept_aside.parent == filled.data_dir
    assert restored.kept_aside.name.startswith("gex_data.db.20")
    assert restored.kept_aside.suffix == ".replaced"
    assert mine(restored.kept_aside) == 2
    assert restore_backup(filled, backup.name, force=True).kept_aside not in {None, restored.kept_aside}


def test_a_database_that_was_lost_is_restored_without_force(filled: Settings) -> None:
    backup = create_backup(filled, reason="test")
    filled.database_path.unlink()
    assert restore_backup(filled, backup.name).kept_aside is None
    assert mine(filled.database_path) == 1


def test_a_database_that_cannot_be_opened_is_replaced_together_with_its_log(filled: Settings) -> None:
    backup = create_backup(filled, reason="test")
    log = filled.database_path.with_name("gex_data.db.wal")
    filled.database_path.write_bytes(b"ruined" * 1000)
    log.write_bytes(b"ruined too")
    restored = restore_backup(filled, backup.name, force=True)
    assert mine(filled.database_path) == 1
    assert not log.exists()
    assert restored.kept_aside is not None
    assert restored.kept_aside.read_bytes() == b"ruined" * 1000
    assert restored.kept_aside.with_name(f"{restored.kept_aside.name}.wal").read_bytes() == b"ruined too"


def test_commits_in_the_log_are_in_the_file_that_is_kept_aside(filled: Settings) -> None:
    backup = create_backup(filled, reason="test")
    code = """
import duckdb
duckdb.connect(sys.argv[1]).execute("UPDATE mine SET x = 3")
print("ready", flush=True)
time.sleep(60)
"""
    with child(code, filled.database_path) as process:
        process.kill()
        process.wait()
    restored = restore_backup(filled, backup.name, force=True)
    assert restored.kept_aside is not None
    assert (mine(filled.database_path), mine(restored.kept_aside)) == (1, 3)


def test_a_database_behind_a_link_is_replaced_where_it_is(filled: Settings, tmp_path: Path) -> None:
    elsewhere = tmp_path / "disk" / "large.db"
    elsewhere.parent.mkdir()
    filled.database_path.rename(elsewhere)
    filled.database_path.symlink_to(elsewhere)
    backup = create_backup(filled, reason="test")
    set_mine(filled.database_path, 2)
    restored = restore_backup(filled, backup.name, force=True)
    assert filled.database_path.is_symlink()
    assert mine(elsewhere) == 1
    assert restored.kept_aside is not None
    assert restored.kept_aside.parent == elsewhere.parent


def test_a_database_that_is_open_elsewhere_is_not_replaced(filled: Settings) -> None:
    backup = create_backup(filled, reason="test")
    before = filled.database_path.stat().st_ino
    with child(HOLD_DUCKDB, filled.database_path), pytest.raises(LeaseTimeoutError, match="open in another program"):
        restore_backup(filled, backup.name, force=True, lease_timeout_seconds=0.3)
    assert filled.database_path.stat().st_ino == before
    assert [path.name for path in filled.data_dir.iterdir() if "tmp" in path.name or "replaced" in path.name] == []


def test_a_damaged_backup_is_not_restored(filled: Settings, tmp_path: Path) -> None:
    backup = create_backup(filled, reason="test")
    os.truncate(backup.path, backup.path.stat().st_size - 1)
    for to in (None, tmp_path / "new.db"):
        with pytest.raises(BackupError, match="is damaged and was not restored: the file has "):
            restore_backup(filled, backup.name, to=to, force=True)
    assert mine(filled.database_path) == 1
    assert not (tmp_path / "new.db").exists()
    with pytest.raises(BackupError, match="there is no backup never; gex backup list shows those there are"):
        restore_backup(filled, "never", force=True)
