"""A data folder on a disk that became read-only: every command ends with one line and nothing is lost."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gex_pipeline.backups.creating import create_backup
from gex_pipeline.errors import PermanentError
from gex_pipeline.history.download import find_unrecorded_source
from gex_pipeline.history.exporting import export_day
from gex_pipeline.history.importing import import_staged
from gex_pipeline.history.obtaining import obtain
from gex_pipeline.history.staging import stage
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage import disk
from gex_pipeline_tests.durable_state import State, state_of
from gex_pipeline_tests.processes import clean_environment, free_port
from gex_pipeline_tests.records import ZERO, import_records, record, stage_records
from gex_pipeline_tests.small_disk import SmallDisk, remount, small_disk


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SmallDisk, State]]:
    with small_disk(tmp_path_factory.mktemp("small") / "disk", 16 * 1024**2) as running:
        before = running.run(prepare, running.folder)
        running.run(remount, running.folder, "ro")
        yield running, before
        running.run(remount, running.folder, "rw")
        assert running.run(look, running.folder) == before


# What runs in the process that sees the disk


def prepare(folder: Path) -> State:
    disk.RESERVE_BYTES = 0
    settings = settings_on(folder)
    import_records(settings, record(1), record(2))
    stage_records(settings, record(1), record(3))
    return state_of(settings)


def settings_on(folder: Path) -> Settings:
    return load_settings(data_dir=folder / "data", backup_max_age_hours=0)


def look(folder: Path) -> State:
    return state_of(settings_on(folder))


def do(folder: Path, task: Callable[[Settings], None]) -> None:
    task(settings_on(folder))


def fetch(settings: Settings) -> None:
    obtain(settings, ZERO, lambda *_: None)


def stage_it(settings: Settings) -> None:
    file = find_unrecorded_source(settings, ZERO)
    assert file is not None
    stage(settings, ZERO, file)


def import_it(settings: Settings) -> None:
    import_staged(settings, ZERO, "run")


def publish_it(settings: Settings) -> None:
    export_day(settings, ZERO, "snapshots")


def back_up(settings: Settings) -> None:
    create_backup(settings, reason="test")


def command(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        env=clean_environment(GEX_DATA_DIR=str(folder / "data")),
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


# The tests


@pytest.mark.parametrize("task", [fetch, stage_it, import_it, publish_it, back_up])
def test_each_step_says_that_it_may_not_write(
    read_only: tuple[SmallDisk, State], task: Callable[[Settings], None]
) -> None:
    small, _ = read_only
    with pytest.raises(PermanentError, match=r"disk/data.* cannot be written: Read-only file system$"):
        small.run(do, small.folder, task)


@pytest.mark.parametrize(
    "arguments",
    [
        ("gex_pipeline.cli", "up"),
        ("gex_pipeline.cli", "feeds", "list"),
        ("gex_pipeline.cli", "backup", "create"),
        ("webhook_gateway",),
        ("gex_pipeline.loader", "--once"),
    ],
)
def test_each_command_ends_with_one_line(read_only: tuple[SmallDisk, State], arguments: tuple[str, ...]) -> None:
    small, _ = read_only
    ports = ("--port", str(free_port())) if arguments[-1] in {"up", "webhook_gateway"} else ()
    status, said, error = small.run(command, small.folder, *arguments, *ports)
    assert status != 0
    assert said == ""
    [line] = error.splitlines()
    assert "cannot be written: Read-only file system" in line
