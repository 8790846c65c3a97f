"""A full disk, a real one of some megabytes: what it stops says so, changes nothing and completes when repeated."""

import gzip
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gex_pipeline.backups.creating import create_backup
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.errors import DiskFullError, MalformedFileError
from gex_pipeline.history.attempts import Attempt, recorded
from gex_pipeline.history.download import download, find_unrecorded_source
from gex_pipeline.history.exporting import export_day
from gex_pipeline.history.importing import import_staged
from gex_pipeline.history.staging import stage
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage import disk
from gex_pipeline_tests.durable_state import State, state_of
from gex_pipeline_tests.records import ZERO, Row, import_records, record, stage_records
from gex_pipeline_tests.small_disk import SmallDisk, fill, free, small_disk

SIZE_BYTES = 32 * 1024**2
SNAPSHOTS = 1001
RESERVE_BYTES = disk.RESERVE_BYTES
NAME = "2025-11-14_SPX_classic_gex_zero.json"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    with small_disk(tmp_path_factory.mktemp("small") / "disk", SIZE_BYTES) as running:
        running.run(prepare, running.folder)
        yield running


# What runs in the process that sees the disk


def settings_on(folder: Path) -> Settings:
    return load_settings(data_dir=folder / "data", backup_max_age_hours=0, history_hosts="127.0.0.1")


def records() -> list[Row]:
    """A day of which one record is bad, no two ladders are equal and no number is short."""
    whole = [
        record(second, strikes=[[6000 + 5 * level, second / 7, level / 11, [second / 3]] for level in range(10)])
        for second in range(SNAPSHOTS)
    ]
    return [{"spot": 1}, *whole[1:]]


def prepare(folder: Path) -> None:
    """Store and publish a part of the day with other values, and put a longer file in its place."""
    disk.RESERVE_BYTES = -RESERVE_BYTES  # what wants to begin may, so that the disk fills up in the middle
    settings = settings_on(folder)
    import_records(settings, *(each | {"spot": 1.5} for each in records()[1:60]))
    publish_both(settings)
    place = ZERO.source(settings).with_suffix(".json")
    place.unlink()
    place.with_suffix(".json.gz").write_bytes(gzip.compress(json.dumps(records()).encode()))
    shutil.copytree(settings.data_dir, kept_folder(folder, "staging"))
    stage_again(settings)
    shutil.copytree(settings.data_dir, kept_folder(folder, "importing"))
    import_staged(settings, ZERO, "run")
    shutil.copytree(settings.data_dir, kept_folder(folder, "exporting"))


def kept_folder(folder: Path, stage_name: str) -> Path:
    return folder.parent / f"before {stage_name}"


def stage_again(settings: Settings) -> None:
    file = find_unrecorded_source(settings, ZERO)
    assert file is not None
    stage(settings, ZERO, file)


def import_it(settings: Settings) -> None:
    import_staged(settings, ZERO, "run")


def replace_it(settings: Settings) -> None:
    import_staged(settings, ZERO, "run", replace=True)


def publish_both(settings: Settings) -> None:
    export_day(settings, ZERO, "snapshots")
    export_day(settings, ZERO, "strikes")


def back_up(settings: Settings) -> None:
    create_backup(settings, reason="test")


def begin(folder: Path, stage_name: str) -> State:
    """Make the data folder what it was before a stage."""
    settings = settings_on(folder)
    free(folder)
    shutil.rmtree(settings.data_dir)
    shutil.copytree(kept_folder(folder, stage_name), settings.data_dir)
    return state_of(settings)


def look(folder: Path) -> State:
    free(folder)
    return state_of(settings_on(folder))


def attempt(folder: Path, task: Callable[[Settings], None], leave_bytes: int | None) -> None:
    """Do something while so much room is left."""
    if leave_bytes is not None:
        fill(folder, leave_bytes)
    task(settings_on(folder))


# The tests


@dataclass(frozen=True)
class Filled:
    """What a full disk interrupts: the stage, what is done, and by how many bytes the room grows each time."""

    stage: str
    task: Callable[[Settings], None]
    step_bytes: int


TASKS = {
    "staging, with its quarantine": Filled("staging", stage_again, 128 * 1024),
    "importing, with its conflicts": Filled("importing", import_it, 256 * 1024),
    "replacing, with its backup": Filled("importing", replace_it, 768 * 1024),
    "publishing, with what is kept aside": Filled("exporting", publish_both, 4 * 1024),
    "backing up": Filled("importing", back_up, 384 * 1024),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_disk_that_fills_up_stops_it_with_the_data_as_it_was_and_room_lets_it_complete(
    small: SmallDisk, name: str
) -> None:
    filled = TASKS[name]
    small.run(begin, small.folder, filled.stage)
    small.run(attempt, small.folder, filled.task, None)
    after = small.run(look, small.folder)
    for leave_bytes in itertools.count(0, filled.step_bytes):
        before = small.run(begin, small.folder, filled.stage)
        try:
            small.run(attempt, small.folder, filled.task, leave_bytes)
        except DiskFullError as error:
            assert_says_what_to_do(str(error), small.folder)
        else:
            break
        assert_as_it_was(small.run(look, small.folder), before, after)
        small.run(attempt, small.folder, filled.task, None)
        assert small.run(look, small.folder) == after
    assert leave_bytes >= 3 * filled.step_bytes, "too few stopped it"
    assert small.run(look, small.folder) == after


def assert_says_what_to_do(message: str, folder: Path) -> None:
    assert "\n" not in message
    assert "free space there" in message
    assert str(folder) in message


def assert_as_it_was(found: State, before: State, after: State) -> None:
    """Compare rows, and files: each as before or as it was going to be, and none that is neither."""
    assert found.rows == before.rows
    assert found.files.keys() >= before.files.keys()
    for name, content in found.files.items():
        assert content <= before.files.get(name, set()) | after.files.get(name, set()), name
    for name in before.files.keys() & after.files.keys():
        if name.startswith(("backups/", "source/")):
            assert found.files[name] >= before.files[name]


def test_an_import_that_would_take_the_last_room_from_the_journal_is_refused_before_it_begins(
    small: SmallDisk,
) -> None:
    before = small.run(begin, small.folder, "importing")
    with pytest.raises(
        DiskFullError, match=r"importing .*_history.json.gz into .* needs [\d,]+ bytes and 268,435,456"
    ):
        small.run(import_with_reserve, small.folder)
    assert small.run(look, small.folder) == before


def import_with_reserve(folder: Path) -> None:
    disk.RESERVE_BYTES = RESERVE_BYTES
    try:
        import_it(settings_on(folder))
    finally:
        disk.RESERVE_BYTES = -RESERVE_BYTES


def test_what_a_failed_transaction_took_of_the_disk_serves_the_next_one(small: SmallDisk) -> None:
    small.run(begin, small.folder, "importing")
    small.run(stage_a_long_ladder, small.folder)
    before = small.run(size_of_database, small.folder)
    with pytest.raises(DiskFullError):
        small.run(attempt, small.folder, import_it, 4_000_000)
    taken = small.run(size_of_database, small.folder)
    assert taken > before + 3_000_000
    small.run(free, small.folder)
    small.run(attempt, small.folder, import_it, None)
    after_failure = small.run(size_of_database, small.folder)
    small.run(begin, small.folder, "importing")
    small.run(stage_a_long_ladder, small.folder)
    small.run(attempt, small.folder, import_it, None)
    assert after_failure < small.run(size_of_database, small.folder) + 1_000_000


def stage_a_long_ladder(folder: Path) -> None:
    """Stage so many strikes that DuckDB writes some to its file before the commit."""
    ladder = [[level, level / 7, level / 11, [1 / (level + 3)]] for level in range(200)]
    stage_records(settings_on(folder), *(record(second, strikes=ladder) for second in range(SNAPSHOTS)))


def size_of_database(folder: Path) -> int:
    return settings_on(folder).database_path.stat().st_size


def test_an_attempt_that_fails_for_another_reason_says_that_one_though_its_line_has_no_room(small: SmallDisk) -> None:
    before = small.run(begin, small.folder, "importing")
    with pytest.raises(MalformedFileError, match="cut off"):
        small.run(refused_attempt, small.folder, 0)
    assert small.run(look, small.folder) == before
    with pytest.raises(MalformedFileError, match="cut off"):
        small.run(refused_attempt, small.folder, None)
    assert [line[1] for line in small.run(look, small.folder).rows.lineage] == ["imported", "refused"]


def refused_attempt(folder: Path, leave_bytes: int | None) -> None:
    settings = settings_on(folder)
    if leave_bytes is not None:
        fill(folder, leave_bytes)
    with recorded(settings, Attempt.of_staged(settings, ZERO, "run")):
        raise MalformedFileError("the file is cut off")


def test_a_download_that_fills_the_disk_gives_the_room_back_and_is_completed_later(
    small: SmallDisk, tmp_path: Path
) -> None:
    before = small.run(begin, small.folder, "exporting")
    content = json.dumps(records()).encode()
    (tmp_path / NAME).write_bytes(content)
    with GexBotStandIn(tmp_path) as gexbot:
        url = gexbot.signed_url(NAME)
        for leave_bytes in (0, len(content) // 2):
            with pytest.raises(DiskFullError, match="free space there"):
                small.run(fetch, small.folder, gexbot.host, url, leave_bytes)
            assert small.run(look, small.folder) == before
        assert small.run(fetch, small.folder, gexbot.host, url, None) == content


def fetch(folder: Path, host: str, url: str, leave_bytes: int | None) -> bytes:
    settings = load_settings(data_dir=folder / "data", history_hosts=host)
    if leave_bytes is not None:
        fill(folder, leave_bytes)
    return download(settings, ZERO, url, lambda *_: None).path.read_bytes()
