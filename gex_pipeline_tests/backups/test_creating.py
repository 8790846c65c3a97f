"""Backups of the database: what is in them, and what becomes of them without room or process."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from gex_pipeline.backups.copying import clone_or_copy
from gex_pipeline.backups.creating import create_backup
from gex_pipeline.backups.folder import list_backups, manifest_path
from gex_pipeline.backups.verifying import verify_backup
from gex_pipeline.errors import BackupError, DiskFullError, PermanentError
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.backups.backed_up import names, refused
from gex_pipeline_tests.processes import child, rows

MANY = 4_000_000  # rows, enough for several of the blocks that a file is copied in
# Writes the database until it is stopped in a step of a backup.
STOP_IN_STEP = """
from pathlib import Path
from gex_pipeline.settings import load_settings
from gex_pipeline.backups.creating import create_backup

def stop(step, done, total):
    if step == sys.argv[2] and done == total:
        print("ready", flush=True)
        time.sleep(60)

create_backup(load_settings(data_dir=Path(sys.argv[1])), reason="killed", progress=stop)
"""
LIMITED = """
import resource, sys
from pathlib import Path
from gex_pipeline.errors import GexError
from gex_pipeline.settings import load_settings
from gex_pipeline.backups.creating import create_backup
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    create_backup(load_settings(data_dir=Path(sys.argv[1])), reason="no room")
except GexError as error:
    print(f"{type(error).__name__}: {error}")
"""
LEAVE_A_LOG = """
import os, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("INSERT INTO nothing VALUES (42)")
print("ready", flush=True)
sys.stdin.readline()
"""


def contents(path: Path) -> dict[str, list[str]]:
    """Every row of every table as text, in order."""
    with duckdb.connect(path, read_only=True) as connection:
        names = connection.execute("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
        return {
            f"{schema}.{name}": sorted(map(repr, connection.table(f'{schema}."{doubled(name)}"').fetchall()))
            for schema, name in names
        }


def doubled(name: str) -> str:
    return name.replace('"', '""')


# Making


def test_a_backup_has_every_row_of_every_table_and_only_its_owner_may_read_it(settings: Settings) -> None:
    backup = create_backup(settings, reason="test")
    assert contents(backup.path) == contents(settings.database_path)
    assert len(contents(backup.path)["main.gex_strikes"]) == 1000
    counted = {name: content.rows for name, content in backup.manifest.tables.items()}
    assert counted["gex_strikes"] == 1000
    assert counted["mine.gex_strikes"] == 10
    assert counted['"a ""table"" x"'] == 2
    assert counted["nothing"] == 0
    assert "seen" not in counted
    assert names(settings) == {backup.path.name, manifest_path(backup.path).name}
    for path in (backup.path, manifest_path(backup.path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.database_backups_dir.stat().st_mode) == 0o700
    written = json.loads(manifest_path(backup.path).read_text())
    assert written["reason"] == "test"
    assert written["size_bytes"] == backup.path.stat().st_size
    assert written["verified_at"] >= written["created_at"]


def test_two_backups_of_one_second_are_two(settings: Settings) -> None:
    made = [create_backup(settings, reason="test") for _ in range(3)]
    assert len({backup.path for backup in made}) == 3
    assert [backup.name for backup in list_backups(settings.database_backups_dir)] == [
        backup.name for backup in reversed(made)
    ]


def test_what_is_written_while_the_file_is_copied_the_first_time_is_in_the_backup(settings: Settings) -> None:
    with lease(settings.database_path, purpose="fill") as connection:
        connection.execute("CREATE TABLE large AS SELECT random() AS x FROM range($1)", [MANY])
    assert settings.database_path.stat().st_size > 3 * 8 * 1024**2
    written = 0

    def write(step: str, _done: int, _total: int) -> None:
        nonlocal written
        if step == "copying":
            written += 1
            with lease(settings.database_path, purpose="write") as connection:
                connection.execute("INSERT INTO nothing VALUES (1)")
                connection.execute("UPDATE large SET x = -1 WHERE rowid % 100000 = 0")

    backup = create_backup(settings, reason="test", progress=write)
    assert written >= 1
    assert backup.manifest.tables["nothing"].rows == written
    summed = "SELECT count(*), count(*) FILTER (x = -1), sum(hash(x)) FROM large"
    assert rows(backup.path, summed) == rows(settings.database_path, summed)
    assert verify_backup(settings).manifest.problems == []


def test_no_other_program_can_write_while_the_file_is_held(settings: Settings) -> None:
    answers = []

    def intrude(step: str, _done: int, _total: int) -> None:
        if step == "copying again":
            code = "import duckdb, sys; duckdb.connect(sys.argv[1])"
            command = [sys.executable, "-c", code, str(settings.database_path)]
            answers.append(subprocess.run(command, capture_output=True, text=True, check=False).stderr)

    create_backup(settings, reason="test", progress=intrude)
    assert answers
    assert all("Could not set lock" in answer for answer in answers)


def test_commits_that_are_only_in_the_write_ahead_log_are_in_the_backup(settings: Settings) -> None:
    with child(LEAVE_A_LOG, settings.database_path) as process:
        process.kill()
        process.wait()
    assert settings.database_path.with_name("gex_data.db.wal").stat().st_size > 0
    backup = create_backup(settings, reason="test")
    assert contents(backup.path)["main.nothing"] == ["(42,)"]


def test_without_a_database_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    empty = load_settings(data_dir=tmp_path / "empty")
    with pytest.raises(PermanentError, match="there is no database"):
        create_backup(empty, reason="test")
    with pytest.raises(BackupError, match="there is no backup in "):
        verify_backup(empty)
    assert not empty.data_dir.exists()


def test_a_damaged_database_is_not_backed_up(settings: Settings) -> None:
    first = create_backup(settings, reason="test")
    with settings.database_path.open("r+b") as file:
        file.seek(settings.database_path.stat().st_size // 2)
        file.write(os.urandom(200_000))
    assert refused(settings).startswith("the database was not backed up")
    assert names(settings) == {first.path.name, manifest_path(first.path).name}


# No room, no process


@pytest.mark.parametrize("limit_bytes", [4096, 1_000_000])
def test_a_full_disk_ends_in_an_error_and_leaves_nothing(settings: Settings, limit_bytes: int) -> None:
    assert settings.database_path.stat().st_size > limit_bytes
    command = [sys.executable, "-c", LIMITED, str(settings.data_dir), str(limit_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("BackupError: the database was not backed up: copying it to ")
    assert "File too large; free space there" in done.stdout
    assert done.stderr == ""
    assert names(settings) == set()


def test_too_little_room_is_told_before_anything_is_copied_where_files_cannot_be_cloned(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.touch()
    size_bytes = shutil.disk_usage(tmp_path).free - 100 * 1024**2
    os.truncate(source, size_bytes)
    try:
        copied = clone_or_copy(source, target, lambda *_: None)
    except DiskFullError as error:
        assert f"needs {size_bytes:,} bytes" in str(error)  # noqa: PT017 - a file system that clones needs none
        assert "bytes are free" in str(error)  # noqa: PT017
        assert target.stat().st_size == 0
    else:
        assert copied.digests is None
        assert target.stat().st_size == size_bytes


@pytest.mark.parametrize("step", ["copying", "copying again", "verifying"])
def test_a_killed_process_leaves_no_backup_and_the_next_one_clears_up(settings: Settings, step: str) -> None:
    with child(STOP_IN_STEP, settings.data_dir, step) as process:
        process.kill()
        process.wait()
    assert names(settings)
    assert list_backups(settings.database_backups_dir) == []
    backup = create_backup(settings, reason="test")
    assert contents(backup.path) == contents(settings.database_path)
    assert names(settings) == {backup.path.name, manifest_path(backup.path).name}


def test_a_file_without_its_manifest_is_no_backup_and_goes_while_other_files_stay(settings: Settings) -> None:
    backup = create_backup(settings, reason="test")
    manifest_path(backup.path).unlink()
    (settings.database_backups_dir / "my own.db").write_text("")
    assert list_backups(settings.database_backups_dir) == []
    with pytest.raises(BackupError, match="has no manifest"):
        verify_backup(settings, backup.name)
    other = settings.database_backups_dir / "20200101T000000Z.db"
    backup.path.rename(other)
    made = create_backup(settings, reason="test")
    assert names(settings) == {made.path.name, manifest_path(made.path).name, "my own.db"}
