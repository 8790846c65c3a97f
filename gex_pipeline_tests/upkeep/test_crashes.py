"""Runs and the daemon that are really killed: the queue, Dagster and the lineage agree again by themselves."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg

from gex_pipeline.dagster_home import prepare_dagster_home
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.orphaned_runs import PROCESS_TAG
from gex_pipeline.process_mark import process_mark
from gex_pipeline.settings import environment_for_children, load_settings
from gex_pipeline_tests.history_import.world import ZERO, World
from gex_pipeline_tests.processes import clean_environment, is_running, wait_until

SECONDS = 120.0


@contextmanager
def daemon(world: World, log: Path) -> Iterator[int]:
    """Run Dagster's daemon; give the id of its group of processes, all of which are killed at the end."""
    environment = environment_for_children(world.settings) | {"GEX_HISTORY_HOSTS": world.gexbot.host}
    command = [str(Path(sys.executable).parent / "dagster-daemon"), "run", "-m", "gex_pipeline.definitions"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=clean_environment(**environment),
            cwd=world.settings.data_dir,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_run(world: World, number: int) -> tuple[str, int]:
    """Wait until so many imports have been started and the last is at work; return its id and its process."""

    def marked() -> list[dg.DagsterRun]:
        runs = world.instance.get_runs(dg.RunsFilter(job_name="history_import"))
        return [run for run in runs if PROCESS_TAG in run.tags] if len(runs) == number else []

    wait_until(lambda: len(marked()) == number, SECONDS)
    run = marked()[0]
    return run.run_id, int(run.tags[PROCESS_TAG].split(":")[2])


def add_run(instance: dg.DagsterInstance, mark: str) -> str:
    """Leave the run of a command that has not ended, with the mark of its process."""
    tags = {PROCESS_TAG: mark}
    run = dg.DagsterRun("gex_import", str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED, tags=tags)
    return instance.add_run(run).run_id


def statuses_of(instance: dg.DagsterInstance) -> dict[str, str]:
    return {run.run_id: run.status.value for run in instance.get_runs()}


def test_whatever_is_killed_the_queue_dagster_and_the_lineage_agree_again(tmp_path: Path) -> None:
    (tmp_path / "gexbot").mkdir()
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    home = prepare_dagster_home(load_settings(data_dir=data_dir))
    log = tmp_path / "daemon.log"
    with GexBotStandIn(tmp_path / "gexbot") as gexbot, dg.DagsterInstance.from_config(str(home)) as instance:
        world = World(tmp_path, instance, gexbot)
        path = world.write(ZERO)
        world.announce(ZERO, path, bytes_per_second=500)
        with daemon(world, log) as group:
            first, process = wait_for_run(world, 1)
            assert os.getpgid(process) == group
            os.kill(process, signal.SIGKILL)
            second, process = wait_for_run(world, 2)
            assert statuses_of(instance) == {first: "FAILURE", second: "STARTED"}
            # The run of a command whose process is gone, and one that is at work.
            dead, alive = (add_run(instance, mark) for mark in (f"{process_mark()}0", process_mark()))
        wait_until(lambda: not is_running(process), 10)
        assert statuses_of(instance)[second] == "STARTED"
        gexbot.signed_url(path.name, bytes_per_second=None)
        with daemon(world, log):
            wait_until(
                lambda: world.query("SELECT status, attempts FROM gex_history_queue") == [("completed", 3)], SECONDS
            )
        statuses = statuses_of(instance)
        [third] = set(statuses) - {first, second, dead, alive}
        assert statuses == {
            first: "FAILURE",
            second: "FAILURE",
            third: "SUCCESS",
            dead: "FAILURE",
            alive: "STARTED",
        }
        # A sensor that looks every minute adds those that were cut off.
        attempts = dict(world.query("SELECT run_id, status FROM data_lineage"))
        assert attempts == {third: "imported"} | dict.fromkeys(attempts.keys() & {first, second}, "failed")
