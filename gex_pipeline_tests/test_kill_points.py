"""An import and a backup killed at every point where they change something durable, found by running them once."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gex_pipeline.backups.creating import create_backup
from gex_pipeline.backups.folder import list_backups
from gex_pipeline.backups.verifying import verify_backup
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.demo.sessions import Damage, Session, write_history_file
from gex_pipeline.history.exporting import export_day
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.durable_state import State, files_of, rows_of, state_of
from gex_pipeline_tests.kill_points import KILL_POINTS, Forks, Order
from gex_pipeline_tests.processes import is_running, wait_until
from gex_pipeline_tests.records import announce_url, import_records

PARTITION = Partition.parse("2025-11-14|NQ_NDX:gex_zero")
# With so many records that a bad one is within what is tolerated.
LONG_DAY = Partition.parse("2025-11-17|NQ_NDX:gex_zero")
SNAPSHOTS = {PARTITION: 80, LONG_DAY: 1001}
STRIKES = 4
TABLES: tuple[Table, Table] = ("snapshots", "strikes")
AT_ONCE = 2


@dataclass(frozen=True)
class Scene:
    """A data folder before and after an undisturbed run, and the points that the run passed."""

    before: State
    after: State
    points: list[str]


@pytest.fixture(scope="module")
def gexbot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GexBotStandIn]:
    folder = tmp_path_factory.mktemp("gexbot")
    for partition, snapshots in SNAPSHOTS.items():
        session = Session(feed=partition.feed, date=partition.date, snapshots=snapshots, strikes=STRIKES)
        damage: Damage = lambda index, record: b'{"spot": 1}' if index == 500 else record  # noqa: E731
        write_history_file(folder / name_of(partition), session, damage=damage)
    with GexBotStandIn(folder) as running:
        yield running


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    running = Forks(*KILL_POINTS)
    yield running
    running.stop()


def name_of(partition: Partition) -> str:
    return f"{partition.date}_{partition.feed.ticker}_classic_{partition.feed.endpoint}.json"


def announced(settings: Settings, partition: Partition, gexbot: GexBotStandIn) -> None:
    announce_url(settings, partition, gexbot.signed_url(name_of(partition)))


def recorded_and_published(settings: Settings, partition: Partition, gexbot: GexBotStandIn) -> None:
    """Rows of the day that an earlier file brought: some equal to the new one's, some not, some only there."""
    records = json.loads((gexbot.directory / name_of(partition)).read_bytes())
    early = [*records[:20], *(record | {"spot": 1.5} for record in records[20:40])]
    late = records[40] | {"timestamp": records[-1]["timestamp"] + 7}
    import_records(settings, *early, late, partition=partition)
    for table in TABLES:
        export_day(settings, partition, table)
    announced(settings, partition, gexbot)


def backed_up(settings: Settings, partition: Partition, gexbot: GexBotStandIn) -> None:
    """Backups of which one has to go when another is made."""
    recorded_and_published(settings, partition, gexbot)
    for _ in range(2):
        create_backup(settings, reason="test")


@dataclass(frozen=True)
class Task:
    """What is killed, on which data, and some of the points it must have."""

    name: str
    partition: Partition
    prepare: Callable[[Settings, Partition, GexBotStandIn], None]
    passes: tuple[str, ...]


TASKS = {
    "a day nobody has seen": Task(
        "import", PARTITION, announced, ("INSERT INTO gex_strikes", "COMMIT", "close the database", "os.rename")
    ),
    "a day of which other rows are stored and published": Task(
        "import",
        LONG_DAY,
        recorded_and_published,
        ("data/conflicts/", "data/quarantine/", "data/backups/parquet/", "data/backups/source/"),
    ),
    "a day whose rows are replaced": Task(
        "replace",
        PARTITION,
        recorded_and_published,
        ("data/backups/replaced/", "DELETE FROM", "data/backups/database/"),
    ),
    "a backup that makes an older one go": Task(
        "backup", PARTITION, backed_up, ("pwrite", "os.remove data/backups/database/2")
    ),
}


def settings_of(folder: Path) -> Settings:
    return load_settings(data_dir=folder / "data", backup_keep=2)


def run_to_the_end(forks: Forks, order: Order) -> list[str]:
    whole = replace(order, stop_at=None)
    done = forks.wait(whole, forks.start(whole))
    assert done.outcome == "done", done.outcome
    return done.points


def kill_at(point: int, forks: Forks, order: Order) -> None:
    process_id = forks.start(replace(order, stop_at=point))
    stat = Path(f"/proc/{process_id}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 180)
    os.kill(process_id, signal.SIGKILL)
    wait_until(lambda: not is_running(process_id), 10)


def assert_all_or_nothing(folder: Path, scene: Scene) -> None:
    """Look at what a killed process left: rows as before or as after, published files with what one of them says."""
    settings = settings_of(folder)
    assert rows_of(settings) in (scene.before.rows, scene.after.rows)
    for name, content in files_of(settings).items():
        if name.endswith(".parquet") and not Path(name).name.startswith("."):
            assert content <= scene.before.files.get(name, set()) | scene.after.files[name], name
    for backup in list_backups(settings.database_backups_dir):
        assert backup.manifest.problems == []


def assert_as_undisturbed(folder: Path, scene: Scene) -> None:
    """Look at what the next run made of it: as if nobody had been killed, but for a line that says `unchanged`."""
    settings = settings_of(folder)
    rows, expected = rows_of(settings), scene.after.rows
    assert rows.stored == expected.stored
    assert rows.lineage[: len(expected.lineage)] == expected.lineage
    assert [line[1] for line in rows.lineage[len(expected.lineage) :]] in ([], ["unchanged"])
    assert files_of(settings) == scene.after.files
    if settings.database_backups_dir.exists():
        assert verify_backup(settings).manifest.problems == []


@pytest.mark.parametrize("name", TASKS)
def test_whatever_is_killed_at_any_of_its_points_has_done_all_or_nothing_and_the_next_run_completes_it(
    tmp_path: Path, gexbot: GexBotStandIn, forks: Forks, name: str
) -> None:
    task = TASKS[name]
    before, whole = tmp_path / "before", tmp_path / "whole"
    task.prepare(settings_of(before), task.partition, gexbot)
    shutil.copytree(before, whole)
    order = Order(str(whole), gexbot.host, task.partition.key, task.name)
    points = run_to_the_end(forks, order)
    for expected in task.passes:
        assert any(expected in point for point in points), points
    scene = Scene(state_of(settings_of(before)), state_of(settings_of(whole)), points)

    def kill_and_complete(number: int) -> None:
        folder = tmp_path / str(number)
        shutil.copytree(before, folder)
        mine = replace(order, folder=str(folder))
        try:
            kill_at(number, forks, mine)
            assert_all_or_nothing(folder, scene)
            run_to_the_end(forks, mine)
            assert_as_undisturbed(folder, scene)
        except AssertionError as error:
            error.add_note(f"killed at {number} of {len(points)}: {points[number - 1]}")
            raise

    # Only a power cut tells the moment after a sync from the one before it.
    told_apart = [number for number in range(1, len(points) + 1) if number == 1 or points[number - 2] != "fsync"]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(kill_and_complete, told_apart))
