"""Runs are forked from a process that has everything imported, one that really runs and is really killed."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher import LaunchRunContext

from gex_pipeline.dagster_home import prepare_dagster_home
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.orphaned_runs import PROCESS_TAG, STARTER_TAG, close_dead_runs
from gex_pipeline.run_launcher import ForkingRunLauncher
from gex_pipeline.settings import environment_for_children
from gex_pipeline_tests.history_import.world import NEXT_DAY, ONE, ZERO, World
from gex_pipeline_tests.processes import is_running, wait_until

SECONDS = 60.0
REPOSITORY = ReconstructableRepository(ModuleCodePointer("gex_pipeline.definitions", "defs", str(Path.cwd())))


@contextmanager
def dagster(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("feed", [ZERO.feed.key, ONE.feed.key])
        yield instance


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Give a data folder whose files GexBot sends slowly, and the Dagster that `gex up` sets up there."""
    (tmp_path / "gexbot").mkdir()
    with GexBotStandIn(tmp_path / "gexbot") as gexbot:
        world = World(tmp_path, dg.DagsterInstance.ephemeral(), gexbot)
        home = prepare_dagster_home(world.settings)
        for name, value in (environment_for_children(world.settings) | {"GEX_HISTORY_HOSTS": gexbot.host}).items():
            monkeypatch.setenv(name, value)
        with dagster(home) as world.instance:
            yield world


def launch(instance: dg.DagsterInstance, world: World, *, slow: bool = False, partition: str = ZERO.key) -> str:
    """Launch an import as the queue does; the file of a slow one takes minutes."""
    job = REPOSITORY.get_reconstructable_job("history_import")
    date, feed = partition.split("|")
    tags = {"dagster/partition": partition, "dagster/partition/date": date, "dagster/partition/feed": feed}
    if slow:
        world.announce(ZERO, world.write(ZERO), bytes_per_second=500)
    run = instance.create_run_for_job(
        job.get_definition(), tags=tags, status=dg.DagsterRunStatus.STARTING, job_code_origin=job.get_python_origin()
    )
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    return run.run_id


def run_of(world: World, run_id: str) -> dg.DagsterRun:
    run = world.instance.get_run_by_id(run_id)
    assert run is not None
    return run


def process_of(run: dg.DagsterRun, tag: str = PROCESS_TAG) -> int:
    return int(run.tags[tag].split(":")[2])


def wait_until_marked(world: World, run_id: str) -> dg.DagsterRun:
    wait_until(lambda: PROCESS_TAG in run_of(world, run_id).tags, SECONDS)
    return run_of(world, run_id)


def launch_and_wait_until_it_downloads(instance: dg.DagsterInstance, world: World) -> dg.DagsterRun:
    run_id = launch(instance, world, slow=True)
    wait_until(lambda: world.gexbot.requests, SECONDS)
    return run_of(world, run_id)


def wait_until_ended(world: World, run_id: str) -> str:
    wait_until(lambda: run_of(world, run_id).is_finished, SECONDS)
    return run_of(world, run_id).status.value


def test_runs_are_forked_from_one_starter_and_end_each_for_itself(world: World) -> None:
    assert isinstance(world.instance.run_launcher, ForkingRunLauncher)
    path = world.write(ONE)
    world.announce(ONE, path)
    good, bad = (launch(world.instance, world, partition=each.key) for each in (ONE, NEXT_DAY))
    assert (wait_until_ended(world, good), wait_until_ended(world, bad)) == ("SUCCESS", "FAILURE")
    runs = [run_of(world, run_id) for run_id in (good, bad)]
    [starter] = {process_of(run, STARTER_TAG) for run in runs}
    assert is_running(starter)
    assert len({starter, *(process_of(run) for run in runs)}) == 3


def test_a_run_that_is_terminated_ends_as_canceled_and_the_starter_goes_on(world: World) -> None:
    run = launch_and_wait_until_it_downloads(world.instance, world)
    with dagster(world.settings.dagster_home_path) as webserver:
        assert webserver.run_launcher.terminate(run.run_id)
    assert wait_until_ended(world, run.run_id) == "CANCELED"
    assert not world.instance.run_launcher.terminate(run.run_id)
    assert is_running(process_of(run, STARTER_TAG))


def test_a_starter_that_was_killed_is_started_again_and_its_runs_go_on(world: World) -> None:
    first = launch_and_wait_until_it_downloads(world.instance, world)
    os.kill(process_of(first, STARTER_TAG), signal.SIGKILL)
    second = wait_until_marked(world, launch(world.instance, world, partition=NEXT_DAY.key))
    assert process_of(second, STARTER_TAG) != process_of(first, STARTER_TAG)
    assert wait_until_ended(world, second.run_id) == "FAILURE"
    assert is_running(process_of(first))
    os.kill(process_of(first), signal.SIGKILL)
    wait_until(lambda: not is_running(process_of(first)), SECONDS)
    assert close_dead_runs(world.instance) == [first.run_id]


def test_the_starter_ends_with_dagster_and_its_runs_go_on(world: World) -> None:
    with dagster(world.settings.dagster_home_path) as daemon:
        run = launch_and_wait_until_it_downloads(daemon, world)
        assert is_running(process_of(run, STARTER_TAG))
    assert not is_running(process_of(run, STARTER_TAG))
    assert world.instance.run_launcher.terminate(run.run_id)
    assert wait_until_ended(world, run.run_id) == "CANCELED"
