"""`gex backup`: what it says, and its exit status."""

import json
import os
from pathlib import Path

from gex_pipeline.backups.creating import create_backup
from gex_pipeline.backups.folder import list_backups
from gex_pipeline.settings import Settings
from gex_pipeline_tests.processes import gex
from gex_pipeline_tests.restore.mine import mine


def test_the_commands_make_list_verify_and_restore(filled: Settings, tmp_path: Path) -> None:
    assert "there is no backup" in gex("backup", "list", data_dir=filled.data_dir).stdout
    made = gex("backup", "create", data_dir=filled.data_dir)
    (backup,) = list_backups(filled.database_backups_dir)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith(f"{backup.path} is verified: 8 tables, 1 rows; ")
    assert f"{backup.path.stat().st_size:,} bytes copied in " in made.stdout or "cloned in" in made.stdout

    listed = gex("backup", "list", data_dir=filled.data_dir).stdout.splitlines()
    assert listed[0].split() == ["NAME", "MB", "ROWS", "VERIFIED", "REASON"]
    assert listed[1].startswith(f"{backup.name}  ")
    assert listed[1].endswith("UTC  by hand")

    for arguments in ([], [backup.name]):
        sound = gex("backup", "verify", *arguments, data_dir=filled.data_dir)
        assert (sound.returncode, sound.stderr) == (0, "")
        assert sound.stdout == f"{backup.path} is sound: 8 tables, 1 rows\n"

    restored = gex("backup", "restore", backup.name, "--to", str(tmp_path / "new.db"), data_dir=filled.data_dir)
    assert (restored.returncode, restored.stderr) == (0, "")
    assert mine(tmp_path / "new.db") == 1
    refused = gex("backup", "restore", backup.name, data_dir=filled.data_dir)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"gex: {filled.database_path} exists; ")
    assert len(refused.stderr.splitlines()) == 1


def test_the_commands_tell_a_damaged_backup_in_words_and_status(filled: Settings) -> None:
    backup = create_backup(filled, reason="test")
    os.truncate(backup.path, backup.path.stat().st_size // 2)
    found = gex("backup", "verify", data_dir=filled.data_dir)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith(f"{backup.path} is damaged:\n  the file has ")
    assert "DAMAGED" in gex("backup", "list", data_dir=filled.data_dir).stdout
    told = "gex: there is no backup never; gex backup list shows those there are\n"
    for command in ("verify", "restore"):
        missing = gex("backup", command, "never", data_dir=filled.data_dir)
        assert (missing.returncode, missing.stdout, missing.stderr) == (2, "", told)
    manifest = backup.path.with_suffix(".json")
    assert json.loads(manifest.read_text())["problems"]
