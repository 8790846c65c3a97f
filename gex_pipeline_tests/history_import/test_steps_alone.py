"""Steps of the job run alone, and again."""

import pytest

from gex_pipeline.demo.sessions import Session, write_history_file
from gex_pipeline.history.download import SourceFile
from gex_pipeline.history.staging import stage
from gex_pipeline.storage.files import sha256_of
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import ensure_schema
from gex_pipeline_tests.history_import.world import (
    NEXT_DAY,
    TABLES,
    ZERO,
    World,
    failed_checks,
    failure,
    metadata,
    retries,
)


def test_each_step_can_be_run_again_alone(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=3)
    world.import_file(ZERO, path)
    before = [world.stored(table) for table in TABLES], world.parquet_bytes()
    path.unlink()
    for selected in (
        ["history_file"],
        ["staged_snapshots", "staged_strikes"],
        ["gex_snapshots", "gex_strikes"],
        ["snapshots_parquet", "strikes_parquet"],
    ):
        result = world.run(ZERO, *selected)
        assert result.success
        assert sorted(metadata(result)) == selected
        assert failed_checks(result) == []
        assert ([world.stored(table) for table in TABLES], world.parquet_bytes()) == before


def test_a_lost_parquet_file_is_written_again_by_the_export_alone(world: World) -> None:
    world.import_file(ZERO, world.write(ZERO, snapshots=20, strikes=3))
    old = world.parquet_bytes()
    ZERO.published(world.settings, "strikes").unlink()
    assert world.run(ZERO, "snapshots_parquet", "strikes_parquet").success
    assert world.parquet_bytes() == old


@pytest.mark.parametrize(
    ("selected", "said"),
    [
        ("staged_snapshots", "materialize history_file first"),
        ("gex_snapshots", "materialize staged_snapshots first"),
        ("snapshots_parquet", "import it first"),
    ],
)
def test_a_step_that_lacks_what_comes_before_it_says_so(world: World, selected: str, said: str) -> None:
    with lease(world.settings.database_path, purpose="create") as connection:
        ensure_schema(connection)
    other = selected.replace("snapshots", "strikes")
    result = world.run(ZERO, selected, other)
    assert said in failure(result)
    assert retries(result) == 0


def test_rows_that_another_run_staged_after_the_checks_are_judged_before_they_are_imported(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=3)
    world.announce(ZERO, path)
    assert world.run(ZERO, "history_file", "staged_snapshots", "staged_strikes").success
    wrong_day = world.gexbot.directory / "other.json"
    write_history_file(wrong_day, Session(feed=ZERO.feed, date=NEXT_DAY.date, snapshots=20, strikes=3))
    stage(world.settings, ZERO, SourceFile(wrong_day, sha256_of(wrong_day)))
    result = world.run(ZERO, "gex_snapshots", "gex_strikes")
    assert not result.success
    assert "do not pass their checks" in failure(result)
    assert "20 on another day" in failure(result)
    assert world.query("SELECT count(*) FROM gex_snapshots") == [(0,)]
