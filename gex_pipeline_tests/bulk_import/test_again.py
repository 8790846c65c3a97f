"""`gex import` again: what is done is skipped, what is missing is made whole."""

from pathlib import Path
from shutil import copytree, rmtree

import dagster as dg
import pytest

from gex_pipeline.dagster_home import prepare_dagster_home
from gex_pipeline.history.paths import Partition
from gex_pipeline_tests.bulk_import.command import (
    IMPORTED,
    ONE,
    OURS,
    PATHS,
    UNSAID,
    ZERO,
    Told,
    assert_whole,
    dagster_of,
    published,
    query,
    run,
    settings_of,
    stored,
    write,
)


@pytest.fixture
def copy(world: tuple[Path, Told], tmp_path: Path) -> Path:
    """A copy of that folder, to go on with."""
    folder = tmp_path / "copy"
    copytree(world[0], folder, symlinks=True)
    return folder


def test_the_same_command_again_skips_what_is_done_and_changes_nothing(copy: Path) -> None:
    before = stored(copy), published(copy)
    lines = "SELECT count(*) FROM data_lineage WHERE status <> 'refused'"
    [(imported,)] = query(copy, lines)
    told = run(copy, *PATHS)
    refused = len([line for line in told.lines if line.startswith("refused ")])
    assert (told.code, told.summary) == (1, f"0 imported, 8 skipped, {refused} refused, 0 failed")
    assert (stored(copy), published(copy)) == before
    assert query(copy, lines) == [(imported,)]
    # A second name of the user's file that waits to be downloaded into would be written to.
    assert [path.name for path in (copy / "data").rglob("*.part")] == []


def test_a_day_of_which_something_is_missing_is_made_whole_and_no_other(copy: Path) -> None:
    before = stored(copy), published(copy)
    Partition.parse(OURS).published(settings_of(copy), "snapshots").unlink()
    evaluation = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey("gex_strikes"), check_name="matches_file", passed=False, metadata={}, partition=UNSAID
    )
    with dagster_of(copy) as instance:
        instance.report_runless_asset_event(evaluation)
    told = run(copy, "files/nested", "data/source/gexbot/NQ_NDX")
    assert (told.code, told.summary) == (0, "2 imported, 2 skipped, 0 refused, 0 failed")
    assert told.of("nested/deeper").startswith("imported ")
    assert told.of("nested/2025-11-18").startswith("imported ")
    assert (stored(copy), published(copy)) == before
    assert_whole(copy, IMPORTED)


def test_a_dagster_that_was_wiped_knows_everything_again(copy: Path) -> None:
    before = stored(copy), published(copy)
    rmtree(copy / "data" / "dagster")
    prepare_dagster_home(settings_of(copy))
    with dagster_of(copy) as instance:
        # The command may be killed between a day's last materialization and its verdicts.
        instance.report_runless_asset_event(dg.AssetMaterialization("strikes_parquet", partition=OURS))
    told = run(copy, "files/nested", "data/source/gexbot/NQ_NDX")
    assert (told.code, told.summary) == (0, "4 imported, 0 skipped, 0 refused, 0 failed")
    assert (stored(copy), published(copy)) == before
    assert_whole(copy, {ZERO, ONE, OURS, UNSAID})


def test_flags_say_what_names_do_not(tmp_path: Path) -> None:
    write(tmp_path / "today.json", "2025-11-25|SPX:gex_one")
    told = run(tmp_path, "today.json", "--ticker", "spx", "--endpoint", "one", "--date", "2025-11-25")
    assert (told.code, told.summary) == (0, "1 imported, 0 skipped, 0 refused, 0 failed")
    assert_whole(tmp_path, {"2025-11-25|SPX:gex_one"})
