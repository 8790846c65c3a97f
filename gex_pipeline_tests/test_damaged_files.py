"""Damaged files, be it the database, a staged one or a published one: each is named and none is written over."""

import dataclasses
import os
import struct
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from gex_pipeline.backups.creating import create_backup
from gex_pipeline.backups.folder import list_backups
from gex_pipeline.backups.restoring import restore_backup
from gex_pipeline.errors import BackupError, DamagedDatabaseError, GexError, MalformedFileError
from gex_pipeline.history import judging
from gex_pipeline.history.download import find_unrecorded_source
from gex_pipeline.history.exporting import export_day
from gex_pipeline.history.importing import import_staged
from gex_pipeline.history.judging import require_sound
from gex_pipeline.history.obtaining import obtain
from gex_pipeline.history.paths import Table
from gex_pipeline.history.sensors import history_queue_sensor
from gex_pipeline.history.staging import stage
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.durable_state import rows_of, state_of
from gex_pipeline_tests.processes import gex
from gex_pipeline_tests.records import ZERO, import_records, record, stage_records

Damage = Callable[[bytes], bytes]

LADDER = [[level, level / 7, level / 11, [1 / (level + 3)]] for level in range(1, 61)]
TABLES: tuple[Table, Table] = ("snapshots", "strikes")
BLOCKS_BEGIN, BLOCK_BYTES = 12_288, 262_144


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A day that is stored, published and backed up, with more of it staged."""
    settings = load_settings(data_dir=tmp_path / "data")
    import_records(settings, *(record(second, strikes=LADDER) for second in range(300)))
    for table in TABLES:
        export_day(settings, ZERO, table)
    create_backup(settings, reason="test")
    stage_records(settings, *(record(second, strikes=LADDER) for second in range(310)))
    return settings


def overwritten(offset: int, content: bytes) -> Damage:
    return lambda whole: whole[:offset] + content + whole[offset + len(content) :]


def of_a_later_version(whole: bytes) -> bytes:
    """Raise the version number that stands behind the magic bytes, and put the header's checksum right again."""
    header = bytearray(whole[8:4096])
    header[4:12] = struct.pack("<Q", 500)
    checksum = 5381
    for (word,) in struct.iter_unpack("<Q", header):
        checksum ^= word * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    return struct.pack("<Q", checksum) + bytes(header) + whole[4096:]


def every_block(whole: bytes) -> bytes:
    damaged = bytearray(whole)
    for offset in range(BLOCKS_BEGIN, len(whole), BLOCK_BYTES):
        damaged[offset + 2000 : offset + 2100] = os.urandom(100)
    return bytes(damaged)


DAMAGES: dict[str, tuple[Damage, str]] = {
    "random header": (overwritten(0, os.urandom(4096)), "not a valid DuckDB database file"),
    "random second header": (overwritten(4096, os.urandom(8192)), "Corrupt database file"),
    "cut off in the headers": (lambda whole: whole[:5000], "Could not read enough bytes"),
    "cut off in the middle": (lambda whole: whole[: len(whole) // 2], "Could not read enough bytes"),
    "a text": (lambda _: b"timestamp,ticker,spot\n" * 1000, "not a valid DuckDB database file"),
    "random bytes in every block": (every_block, "Corrupt database file"),
    "a later version": (of_a_later_version, "storage version number 500, but we can only read"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_named_and_left_as_it_is_until_a_backup_is_restored(
    settings: Settings, damage: str
) -> None:
    before = state_of(settings)
    make, said = DAMAGES[damage]
    damaged = make(settings.database_path.read_bytes())
    settings.database_path.write_bytes(damaged)

    def refused(task: Callable[[], object], error: type[GexError] = DamagedDatabaseError) -> None:
        with pytest.raises(error) as raised:
            task()
        message = str(raised.value)
        assert said in message
        assert "gex backup list shows what can be restored" in message
        assert error is BackupError or f"{settings.database_path} cannot be " in message
        assert "\n" not in message
        assert settings.database_path.read_bytes() == damaged

    refused(lambda: import_staged(settings, ZERO, "run"))
    refused(lambda: import_staged(settings, ZERO, "run", replace=True), BackupError)
    refused(lambda: export_day(settings, ZERO, "strikes"))
    refused(lambda: judging.judge(judging.STORED, settings, ZERO))
    refused(lambda: create_backup(settings, reason="test"), BackupError)
    assert len(list_backups(settings.database_backups_dir)) == 1
    done = gex("backup", "create", data_dir=settings.data_dir)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the database was not backed up: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr

    [backup] = list_backups(settings.database_backups_dir)
    restored = restore_backup(settings, backup.name, force=True)
    assert restored.kept_aside is not None
    assert restored.kept_aside.read_bytes() == damaged
    restored.kept_aside.unlink()
    assert state_of(settings) == before
    assert import_staged(settings, ZERO, "run").counts.snapshots == 10


def test_a_damaged_database_stops_neither_the_sensor_nor_what_needs_no_database(settings: Settings) -> None:
    damaged = b"not a database"
    settings.database_path.write_bytes(damaged)
    with dg.DagsterInstance.ephemeral() as instance:
        tick = history_queue_sensor(dg.build_sensor_context(instance=instance, resources={"settings": settings}))
    assert isinstance(tick, dg.SkipReason)
    assert "it was left as it is" in (tick.skip_message or "")
    with pytest.raises(DamagedDatabaseError, match="gex backup list"):
        obtain(settings, ZERO, lambda *_: None)
    assert all(verdict.passed for verdict in judging.judge(judging.STAGED, settings, ZERO))
    assert settings.database_path.read_bytes() == damaged


# Parquet


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-100], lambda whole: whole[:40], lambda _: b"", overwritten(4, b"\0" * 400)]
)
def test_a_damaged_published_file_fails_its_check_and_the_export_replaces_it_and_keeps_it(
    settings: Settings, table: Table, damage: Damage
) -> None:
    path = ZERO.published(settings, table)
    whole = path.read_bytes()
    path.unlink()  # it may be the staged file under a second name
    path.write_bytes(damage(whole))
    name = f"{table}_parquet"
    judged = list(zip(judging.PUBLISHED, judging.judge(judging.PUBLISHED, settings, ZERO), strict=True))
    assert not any(verdict.passed for check, verdict in judged if check.is_warning)
    verdicts = {check.asset: verdict for check, verdict in judged if check.name == "matches_database"}
    assert {asset: verdict.passed for asset, verdict in verdicts.items()} == {
        "snapshots_parquet": table != "snapshots",
        "strikes_parquet": table != "strikes",
    }
    assert f"{path} cannot be read" in verdicts[name].description
    assert f"materialize {name} again" in verdicts[name].description
    exported = export_day(settings, ZERO, table)
    assert exported.kept_aside is not None
    assert exported.kept_aside.read_bytes() == damage(whole)
    judged = list(zip(judging.PUBLISHED, judging.judge(judging.PUBLISHED, settings, ZERO), strict=True))
    assert all(verdict.passed for check, verdict in judged if not check.is_warning)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-100], lambda whole: whole[:40], lambda _: b"", overwritten(4, b"\0" * 400)]
)
def test_damaged_staged_files_are_named_nothing_of_them_is_imported_and_staging_again_helps(
    settings: Settings, table: Table, damage: Damage
) -> None:
    before = rows_of(settings)
    path = ZERO.staged(settings, table)
    path.write_bytes(damage(path.read_bytes()))

    def refused(task: Callable[[], object]) -> None:
        with pytest.raises(MalformedFileError) as raised:
            task()
        assert str(path) in str(raised.value)
        assert "materialize staged_snapshots" in str(raised.value)
        assert "\n" not in str(raised.value)

    refused(lambda: judging.judge(judging.STAGED, settings, ZERO))
    refused(lambda: require_sound(settings, ZERO))
    refused(lambda: import_staged(settings, ZERO, "run"))
    assert rows_of(settings) == before
    export_day(settings, ZERO, table)
    file = find_unrecorded_source(settings, ZERO)
    assert file is not None
    stage(settings, ZERO, file)
    require_sound(settings, ZERO)
    assert import_staged(settings, ZERO, "run").counts.snapshots == 10


def test_staged_files_of_two_history_files_are_not_imported_together(settings: Settings) -> None:
    kept = ZERO.staged(settings, "strikes").read_bytes()
    stage_records(settings, record(400))
    ZERO.staged(settings, "strikes").write_bytes(kept)
    before = rows_of(settings)
    with pytest.raises(MalformedFileError, match="different downloads; materialize staged_snapshots again"):
        import_staged(settings, ZERO, "run")
    assert dataclasses.asdict(rows_of(settings)) == dataclasses.asdict(before)
