"""Old runs go, and what the partition pages show stays."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from gex_pipeline.audit.assets import coverage
from gex_pipeline.dagster_home import dagster_instance
from gex_pipeline.definitions import defs
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.history.fetching import FETCH_TAG
from gex_pipeline.settings import load_settings
from gex_pipeline.upkeep.old_runs import delete_run, old_runs
from gex_pipeline_tests.history_import.world import NEXT_DAY, ZERO, World

ASSETS = [
    "history_file",
    *(f"{prefix}_{table}" for prefix in ("staged", "gex") for table in ("snapshots", "strikes")),
]
ASSETS += ["snapshots_parquet", "strikes_parquet"]
CHECK = dg.AssetCheckKey(dg.AssetKey("gex_snapshots"), "matches_file")
LATER = dt.datetime.now(dt.UTC) + dt.timedelta(days=100)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Dagster with the storage that a user has."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    (tmp_path / "gexbot").mkdir()
    with (
        GexBotStandIn(tmp_path / "gexbot") as gexbot,
        dagster_instance(load_settings(data_dir=tmp_path / "data")) as instance,
    ):
        yield World(tmp_path, instance, gexbot)


def verdicts(instance: dg.DagsterInstance) -> dict[str | None, bool]:
    infos = instance.event_log_storage.get_asset_check_partition_info([CHECK])
    return {
        info.partition_key: info.latest_execution_status is AssetCheckExecutionRecordStatus.SUCCEEDED
        for info in infos
    }


def test_the_last_run_of_each_partition_stays_and_with_it_what_the_pages_show(world: World) -> None:
    instance = world.instance
    world.announce(ZERO, world.write(ZERO, snapshots=20))
    first, second = (world.run(ZERO).run_id for _ in range(2))
    exported = world.run(ZERO, "snapshots_parquet", "strikes_parquet").run_id
    checked = world.run(ZERO, "gex_snapshots", "gex_strikes").run_id
    failed = world.run(NEXT_DAY).run_id
    shard = Path(instance.event_log_storage.path_for_shard(first))  # type: ignore[attr-defined]
    assert shard.exists()

    assert old_runs(instance, 90, dt.datetime.now(dt.UTC)) == []
    assert old_runs(instance, 90, LATER) == [first, failed]
    printed = Path(instance.storage_directory()) / first
    assert printed.exists()
    judged = verdicts(instance)
    assert judged[ZERO.key]
    for run_id in (first, failed):
        delete_run(instance, run_id)
    assert not shard.exists()
    assert not printed.exists()
    assert {run.run_id for run in instance.get_runs()} == {second, exported, checked}
    for asset in ASSETS:
        assert instance.get_materialized_partitions(dg.AssetKey(asset)) == {ZERO.key}
    assert verdicts(instance) == judged
    assert old_runs(instance, 90, LATER) == []


def test_verdicts_outlive_their_run(world: World) -> None:
    world.announce(ZERO, world.write(ZERO, snapshots=20))
    delete_run(world.instance, world.run(ZERO).run_id)
    assert verdicts(world.instance) == {ZERO.key: True}


def test_the_last_run_of_an_asset_without_partitions_stays(world: World) -> None:
    runs = [dg.materialize([coverage], instance=world.instance, resources={"settings": world.settings}) for _ in "ab"]
    assert all(run.success for run in runs)
    assert old_runs(world.instance, 90, LATER) == [runs[0].run_id]


def test_unfinished_runs_and_tries_of_the_daily_fetch_stay(world: World) -> None:
    job = defs.resolve_job_def("history_import")
    for status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED):
        world.instance.create_run_for_job(job, status=status)
    tried = world.instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE, tags={FETCH_TAG: "daily"})
    now = dt.datetime.now(dt.UTC)
    assert old_runs(world.instance, 1, now + dt.timedelta(days=90)) == []
    assert old_runs(world.instance, 1, now + dt.timedelta(days=92)) == [tried.run_id]


def test_the_job_deletes_what_is_due_and_nothing_with_the_settings_off(world: World) -> None:
    world.announce(ZERO, world.write(ZERO, snapshots=20))
    first, second = (world.run(ZERO).run_id for _ in range(2))
    staged = [ZERO.staged(world.settings, table) for table in ("snapshots", "strikes")]
    for off in (True, False):
        days = 0.0 if off else 1e-9
        settings = world.settings.model_copy(update={"run_keep_days": days, "staging_keep_days": days})
        result = defs.resolve_job_def("upkeep").execute_in_process(
            instance=world.instance, resources={"settings": settings}
        )
        assert result.success
        assert [path.exists() for path in staged] == [off, off]
        assert {run.run_id for run in world.instance.get_runs(dg.RunsFilter(job_name="history_import"))} == (
            {first, second} if off else {second}
        )
