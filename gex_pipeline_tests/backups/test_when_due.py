"""When a backup is made by itself."""

import datetime as dt
from pathlib import Path

import pytest

from gex_pipeline.backups.creating import create_backup, ensure_recent_backup
from gex_pipeline.backups.folder import is_due, list_backups
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import ensure_schema
from gex_pipeline_tests.backups.backed_up import NOW, age, backup_of, names
from gex_pipeline_tests.processes import child


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
