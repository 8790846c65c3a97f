"""Staged files go a while after their day is done, and nothing else does."""

import os
import time

from gex_pipeline.history.paths import Partition
from gex_pipeline.history.reporting import finished_files
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.upkeep.staged_files import delete_staged
from gex_pipeline_tests.history_import.world import NEXT_DAY, TABLES, ZERO, World

DAY = 86_400


def staged(world: World) -> set[str]:
    root = world.settings.staging_path
    return {str(path.relative_to(root)) for path in root.rglob("*.parquet")}


def age(world: World, days: float) -> None:
    """Let everything have been staged and imported so many days ago."""
    at = time.time() - days * DAY
    for path in world.settings.staging_path.rglob("*"):
        os.utime(path, (at, at))
    with lease(world.settings.database_path, purpose="age") as connection:
        connection.execute("UPDATE data_lineage SET import_timestamp = ?", [round(at * 1000)])


def delete(world: World, settings: Settings | None = None) -> list[Partition]:
    return delete_staged(settings or world.settings, finished_files(world.settings, world.instance))


def test_the_files_of_a_day_that_is_done_go_after_a_fortnight_and_its_other_files_stay(world: World) -> None:
    world.import_file(ZERO, world.write(ZERO, snapshots=20))
    mine = world.settings.staging_path / "gexbot" / "mine.parquet"
    notes = ZERO.staged(world.settings, "snapshots").with_name("20251114.notes.parquet")
    for path in (mine, notes):
        path.write_bytes(b"mine")
    age(world, 13.9)
    assert delete(world) == []
    age(world, 14.1)
    everything = {path for path in world.settings.data_dir.rglob("*") if path.is_file()}
    assert delete(world) == [ZERO]
    left = {path for path in world.settings.data_dir.rglob("*") if path.is_file()}
    assert everything - left == {ZERO.staged(world.settings, table) for table in TABLES}
    assert len(world.published("strikes")) == 160
    assert delete(world) == []
    assert world.run(ZERO).success


def test_with_the_setting_at_zero_everything_stays(world: World) -> None:
    world.import_file(ZERO, world.write(ZERO, snapshots=20))
    age(world, 100)
    assert delete(world, world.settings.model_copy(update={"staging_keep_days": 0.0})) == []


def test_a_day_that_is_not_imported_not_published_or_not_sound_keeps_its_files(world: World) -> None:
    world.announce(ZERO, world.write(ZERO, snapshots=20))
    world.run(ZERO, "history_file", "staged_snapshots", "staged_strikes")
    world.import_file(NEXT_DAY, world.write(NEXT_DAY, snapshots=20))
    NEXT_DAY.published(world.settings, "strikes").unlink()
    age(world, 100)
    assert delete(world) == []
    assert len(staged(world)) == 4
    world.run(NEXT_DAY, "strikes_parquet", "snapshots_parquet")
    assert delete(world) == [NEXT_DAY]


def test_files_of_bytes_that_were_not_imported_stay_although_the_day_was(world: World) -> None:
    world.import_file(ZERO, world.write(ZERO, snapshots=20))
    world.announce(ZERO, world.write(ZERO, snapshots=30))
    world.run(ZERO, "history_file", "staged_snapshots", "staged_strikes")
    age(world, 100)
    assert delete(world) == []
    assert len(staged(world)) == 2


def test_a_day_that_was_imported_again_lately_keeps_its_files(world: World) -> None:
    world.import_file(ZERO, world.write(ZERO, snapshots=20))
    age(world, 100)
    with lease(world.settings.database_path, purpose="age") as connection:
        connection.execute("UPDATE data_lineage SET import_timestamp = ?", [round(time.time() * 1000)])
    assert delete(world) == []
