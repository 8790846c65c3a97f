"""Backups of the database: what is in them, what proves them, when they are made and when they go."""

import datetime as dt
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import msgspec
import pytest

from gex_pipeline.backups.copying import clone_or_copy
from gex_pipeline.backups.creating import create_backup, ensure_recent_backup
from gex_pipeline.backups.folder import (
    Backup,
    Manifest,
    expired,
    is_due,
    last_verified,
    list_backups,
    manifest_path,
    write_manifest,
)
from gex_pipeline.backups.verifying import verify_backup
from gex_pipeline.errors import BackupError, DiskFullError, GexError, PermanentError
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import ensure_schema
from gex_pipeline_tests.processes import child, rows

NOW = dt.datetime(2025, 11, 14, 21, 0, tzinfo=dt.UTC)
MANY = 4_000_000  # rows, enough for several of the blocks that a file is copied in
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


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A database with tables of ours and of a user's."""
    settings = load_settings(data_dir=tmp_path / "data")
    with lease(settings.database_path, purpose="fill") as connection:
        ensure_schema(connection)
        for statement in ODD_TABLES:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO gex_strikes BY NAME SELECT range AS timestamp, 'SPX' AS ticker, random() AS strike, "
            "CASE range % 3 WHEN 0 THEN [random()] WHEN 1 THEN [] END AS priors FROM range(1000)"
        )
    return settings


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


# Verifying


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


# When one is due


def test_a_backup_is_made_when_there_is_none_and_again_when_it_is_too_old(settings: Settings) -> None:
    first = ensure_recent_backup(settings, reason="before a test")
    assert first is not None
    assert first.manifest.reason == "before a test"
    assert ensure_recent_backup(settings, reason="test") is None
    age(first, hours=23.9)
    assert ensure_recent_backup(settings, reason="test") is None
    age(first, hours=24.1)
    assert ensure_recent_backup(settings, reason="test") is not None
    assert len(list_backups(settings.database_backups_dir)) == 2


def test_an_age_of_zero_turns_it_off(settings: Settings) -> None:
    off = settings.model_copy(update={"backup_max_age_hours": 0.0})
    assert ensure_recent_backup(off, reason="test") is None
    assert names(settings) == set()


def test_a_database_without_rows_or_none_at_all_needs_no_backup(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    assert ensure_recent_backup(settings, reason="test") is None
    with lease(settings.database_path, purpose="create") as connection:
        ensure_schema(connection)
    assert ensure_recent_backup(settings, reason="test") is None
    assert not settings.backups_dir.exists()


def test_a_clock_that_was_set_back_does_not_stop_backups_and_does_not_make_one_each_time(settings: Settings) -> None:
    first = create_backup(settings, reason="test")
    age(first, hours=-24 * 365)
    assert ensure_recent_backup(settings, reason="test") is not None
    assert ensure_recent_backup(settings, reason="test") is None


def test_of_two_processes_only_one_makes_the_backup(settings: Settings) -> None:
    code = """
from pathlib import Path
from gex_pipeline.settings import load_settings
from gex_pipeline.backups.creating import ensure_recent_backup
print("ready", flush=True)
sys.stdin.readline()
made = ensure_recent_backup(load_settings(data_dir=Path(sys.argv[1])), reason="test")
print("none" if made is None else "made", flush=True)
"""
    with child(code, settings.data_dir) as one, child(code, settings.data_dir) as other:
        answers = [process.communicate("\n", timeout=30)[0] for process in (one, other)]
        # Whoever is started while the other is at it waits for its turn, and then finds that none is needed.
    assert sorted(answers) == ["made\n", "none\n"]
    assert len(list_backups(settings.database_backups_dir)) == 1


def test_one_that_waited_for_its_turn_looks_again(settings: Settings) -> None:
    code = """
from pathlib import Path
from gex_pipeline.settings import load_settings
from gex_pipeline.backups.creating import create_backup
told = []
def hold(step, done, total):
    if step == "verifying" and not told:
        told.append(step)
        print("ready", flush=True)
        time.sleep(1)
create_backup(load_settings(data_dir=Path(sys.argv[1])), reason="test", progress=hold)
"""
    with child(code, settings.data_dir):
        assert list_backups(settings.database_backups_dir) == []
        assert ensure_recent_backup(settings, reason="test") is None
    assert len(list_backups(settings.database_backups_dir)) == 1


@pytest.mark.parametrize(
    ("ages_hours", "max_age_hours", "due"),
    [
        ([], 24, True),
        ([23], 24, False),
        ([25], 24, True),
        ([25, 1], 24, False),
        ([-1], 24, True),
        ([-1, 2], 24, False),
    ],
)
def test_the_last_verified_backup_that_is_not_of_the_future_decides(
    tmp_path: Path, ages_hours: list[float], max_age_hours: float, due: bool
) -> None:
    backups = [backup_of(tmp_path, dt.timedelta(hours=each)) for each in ages_hours]
    assert is_due(backups, NOW, max_age_hours) is due
    assert is_due([backup_of(tmp_path, dt.timedelta(hours=1), sound=False)], NOW, max_age_hours)
    assert not is_due(backups, NOW, 0)


# Which go


def test_a_backup_goes_when_it_is_both_beyond_the_count_and_too_old(tmp_path: Path) -> None:
    backups = [backup_of(tmp_path, dt.timedelta(days=each)) for each in range(40)]
    assert expired(backups, NOW, keep=7, keep_days=30) == backups[31:]
    assert expired(backups, NOW, keep=35, keep_days=30) == backups[35:]
    assert expired(backups, NOW, keep=7, keep_days=0) == backups[7:]


def test_the_last_verified_backup_never_goes(tmp_path: Path) -> None:
    old = backup_of(tmp_path, dt.timedelta(days=400))
    damaged = backup_of(tmp_path, dt.timedelta(days=399), sound=False)
    future = [backup_of(tmp_path, -dt.timedelta(days=each)) for each in range(1, 4)]
    assert expired([old, damaged], NOW, keep=1, keep_days=30) == [damaged]
    assert expired([old, damaged, *future], NOW, keep=1, keep_days=0) == [damaged]


def test_old_backups_are_removed_after_a_new_one_and_nothing_else_is(settings: Settings) -> None:
    few = settings.model_copy(update={"backup_keep": 2})
    parquet = settings.backups_dir / "parquet" / "day.parquet"
    parquet.parent.mkdir(parents=True)
    parquet.write_text("")
    old = [age(create_backup(few, reason="test"), hours=24 * days) for days in (33, 32, 31, 1)]
    newest = create_backup(few, reason="test")
    assert {backup.name for backup in list_backups(few.database_backups_dir)} == {old[-1].name, newest.name}
    assert names(few) == {f"{backup.name}{suffix}" for backup in (old[-1], newest) for suffix in (".db", ".json")}
    assert parquet.exists()


def test_nothing_is_removed_when_no_backup_was_made(settings: Settings) -> None:
    few = settings.model_copy(update={"backup_keep": 1})
    for days in (33, 32):
        age(create_backup(few, reason="test"), hours=24 * days)
    before = names(few)
    settings.database_path.write_bytes(b"no database" * 1000)
    refused(few)
    assert names(few) == before
    assert rows(list_backups(few.database_backups_dir)[0].path, "SELECT count(*) FROM gex_strikes") == [(1000,)]
