"""Two processes at one partition at the same moment: what is there in the end is as if they had come one by one."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gex_pipeline.backups.folder import list_backups
from gex_pipeline.backups.verifying import verify_backup
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.errors import TransientError
from gex_pipeline.history.download import SourceFile, find_unrecorded_source
from gex_pipeline.history.staging import read_summary, stage
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.durable_state import rows_of, state_of
from gex_pipeline_tests.kill_points import KILL_POINTS, Forks, Order
from gex_pipeline_tests.records import ZERO, announce_url, import_records, record, stage_records

NAME = "2025-11-14_SPX_classic_gex_zero.json"
# How much later the second begins: together, and in the middle of the first one's steps.
LATER_SECONDS = (0.0, 0.03, 0.1, 0.2)
OVERTAKEN = ("has been replaced by another file meanwhile; try again", "is staged but has not been imported")


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    running = Forks(*KILL_POINTS)
    yield running
    running.stop()


@pytest.fixture
def gexbot(tmp_path: Path) -> Iterator[GexBotStandIn]:
    folder = tmp_path / "gexbot"
    folder.mkdir()
    with GexBotStandIn(folder) as running:
        yield running


def settings_of(folder: Path) -> Settings:
    return load_settings(data_dir=folder / "data")


def serve(gexbot: GexBotStandIn, spot: float) -> None:
    """Let the host have a day whose snapshots are all of one spot price."""
    # At once: a slow process may still be fetching the one before.
    new = gexbot.directory / "new"
    new.write_text(json.dumps([record(second, spot=spot) for second in range(400)]))
    new.replace(gexbot.directory / NAME)


def announced(folder: Path, gexbot: GexBotStandIn) -> None:
    announce_url(settings_of(folder), ZERO, gexbot.signed_url(NAME))


def order_for(folder: Path, gexbot: GexBotStandIn, task: str = "import") -> Order:
    return Order(str(folder), gexbot.host, ZERO.key, task)


def finish(forks: Forks, *orders: Order, later_seconds: float = 0.0) -> list[str]:
    """Run orders at the same time, each a little later than the one before, and return what became of them."""
    process_ids = []
    for order in orders:
        process_ids.append(forks.start(order))
        time.sleep(later_seconds)
    return [forks.wait(*each).outcome for each in zip(orders, process_ids, strict=True)]


def before_and_after(tmp_path: Path, gexbot: GexBotStandIn, forks: Forks, *, imports: int) -> tuple[Path, Path]:
    """Make a folder in which some other rows of the day are, and one in which it was then imported so many times."""
    before, after = tmp_path / "before", tmp_path / "after"
    serve(gexbot, 1)
    import_records(settings_of(before), record(0, spot=7), record(500))
    announced(before, gexbot)
    shutil.copytree(before, after)
    for _ in range(imports):
        assert finish(forks, order_for(after, gexbot)) == ["done"]
    return before, after


def test_the_same_file_twice_at_once_is_imported_once_and_found_unchanged_once(
    tmp_path: Path, gexbot: GexBotStandIn, forks: Forks
) -> None:
    before, serial = before_and_after(tmp_path, gexbot, forks, imports=2)
    expected = state_of(settings_of(serial))
    assert [line[1] for line in expected.rows.lineage] == ["imported", "imported", "unchanged"]
    for number, later_seconds in enumerate(LATER_SECONDS):
        folder = tmp_path / str(number)
        shutil.copytree(before, folder)
        order = order_for(folder, gexbot)
        assert finish(forks, order, order, later_seconds=later_seconds) == ["done", "done"]
        assert state_of(settings_of(folder)) == expected


def without_import_ids(stored: list[list[tuple[Any, ...]]]) -> list[list[tuple[Any, ...]]]:
    return [sorted((row[:-1] for row in table), key=repr) for table in stored]


def test_two_files_of_one_day_at_once_are_never_mixed(tmp_path: Path, gexbot: GexBotStandIn, forks: Forks) -> None:
    serve(gexbot, 1)
    before = tmp_path / "before"
    announced(before, gexbot)
    only_one = {spot: tmp_path / f"only {spot}" for spot in (1, 2)}
    expected = []
    for spot, folder in only_one.items():
        serve(gexbot, spot)
        shutil.copytree(before, folder)
        assert finish(forks, order_for(folder, gexbot)) == ["done"]
        expected.append(without_import_ids(rows_of(settings_of(folder)).stored))
    for number, later_seconds in enumerate(LATER_SECONDS):
        folder = tmp_path / str(number)
        shutil.copytree(before, folder)
        order = order_for(folder, gexbot)
        serve(gexbot, 1)
        first = forks.start(order)
        time.sleep(later_seconds)
        serve(gexbot, 2)
        announced(folder, gexbot)
        second = forks.start(order)
        for process_id in (first, second):
            outcome = forks.wait(order, process_id).outcome
            assert outcome == "done" or any(told in outcome for told in OVERTAKEN), outcome
        assert finish(forks, order) == ["done"]
        rows = rows_of(settings_of(folder))
        assert without_import_ids(rows.stored) in expected
        imported = [line[2] for line in rows.lineage if line[1] == "imported"]
        assert len(imported) == len(set(imported)) <= 2


def test_a_file_that_is_replaced_before_it_is_staged_is_not_staged_under_the_old_ones_checksum(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path)
    stage_records(settings, record(1))
    was = find_unrecorded_source(settings, ZERO)
    assert was is not None
    stage_records(settings, record(2))
    now = read_summary(ZERO.staged(settings, "snapshots"))
    with pytest.raises(TransientError, match="replaced by another file meanwhile; try again"):
        stage(settings, ZERO, SourceFile(was.path, was.sha256))
    assert read_summary(ZERO.staged(settings, "snapshots")) == now


def test_a_backup_during_an_import_holds_the_day_or_not_and_both_succeed(
    tmp_path: Path, gexbot: GexBotStandIn, forks: Forks
) -> None:
    before, alone = before_and_after(tmp_path, gexbot, forks, imports=1)
    rows_before, rows_after = rows_of(settings_of(before)), rows_of(settings_of(alone))
    for number, later_seconds in enumerate(LATER_SECONDS):
        folder = tmp_path / str(number)
        shutil.copytree(before, folder)
        orders = [order_for(folder, gexbot, task) for task in ("import", "backup")]
        if number % 2:
            orders.reverse()
        assert finish(forks, *orders, later_seconds=later_seconds) == ["done", "done"]
        settings = settings_of(folder)
        assert rows_of(settings) == rows_after
        [backup] = list_backups(settings.database_backups_dir)
        assert verify_backup(settings).manifest.problems == []
        held = settings.model_copy(update={"data_dir": tmp_path / f"held {number}"})
        held.data_dir.mkdir()
        shutil.copyfile(backup.path, held.database_path)
        assert rows_of(held) in (rows_before, rows_after)


def test_two_replacing_imports_at_once_replace_once(tmp_path: Path, gexbot: GexBotStandIn, forks: Forks) -> None:
    serve(gexbot, 1)
    settings = settings_of(tmp_path)
    import_records(settings, record(0, spot=7), record(500))
    announced(tmp_path, gexbot)
    order = replace(order_for(tmp_path, gexbot), task="replace")
    assert finish(forks, order, order) == ["done", "done"]
    assert [line[1] for line in rows_of(settings).lineage] == ["imported", "replaced", "unchanged"]
    assert len(list((settings.backups_dir / "replaced").rglob("*.parquet"))) == 2
