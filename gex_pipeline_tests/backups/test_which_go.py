"""Which backups are removed, and which never."""

import datetime as dt
from pathlib import Path

from gex_pipeline.backups.creating import create_backup
from gex_pipeline.backups.folder import expired, list_backups
from gex_pipeline.settings import Settings
from gex_pipeline_tests.backups.backed_up import NOW, age, backup_of, names, refused
from gex_pipeline_tests.processes import rows


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
