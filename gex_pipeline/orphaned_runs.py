"""Runs whose process is gone: nothing would ever end them, so they are reported as failed."""

import sys

import dagster as dg
from dagster._core.storage.tags import GRPC_INFO_TAG

from gex_pipeline.process_mark import is_gone, is_there, process_mark
from gex_pipeline.settings import Settings, load_settings

PROCESS_TAG, STARTER_TAG = "gex/process", "gex/run_starter"
UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def marked_settings(context: dg.InitResourceContext) -> Settings:
    """Return the settings; in a run, mark it with the process that works on it."""
    if context.run is not None and context.instance is not None:
        context.instance.add_run_tags(context.run.run_id, {PROCESS_TAG: process_mark()})
    return load_settings()


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report as failed each unfinished run whose process has ended, at any time; return their ids.

    Dagster itself notices a run that dies under its code server, not one that dies with it.
    """
    dead = [run for run in _unfinished(instance) if (mark := _mark_of(run)) and is_gone(mark)]
    for run in dead:
        instance.report_run_failed(run, "The run's process ended before the run did.")
    return [run.run_id for run in dead]


def close_orphaned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report as failed each unfinished run that the system had launched, so that it can run again.

    Call it while no daemon and no UI are running. Runs that somebody started from the command line carry no mark
    of a launcher and are left alone, and so are those that are still at work, when only the system was killed.

    Returns:
        The ids of the runs.
    """
    launched = [run for run in _unfinished(instance) if run.tags.keys() & {GRPC_INFO_TAG, STARTER_TAG}]
    orphaned = [run for run in launched if not is_there(run.tags.get(PROCESS_TAG, ""))]
    for run in orphaned:
        instance.report_run_failed(run, "The run was cut off when the system stopped.")
    return [run.run_id for run in orphaned]


def _unfinished(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    return list(instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED)))


def _mark_of(run: dg.DagsterRun) -> str | None:
    """Return the mark of the process that does a run, or will fork the one that does."""
    return run.tags.get(PROCESS_TAG) or run.tags.get(STARTER_TAG)


if __name__ == "__main__":
    with dg.DagsterInstance.get() as home:
        for run_id in (*close_dead_runs(home), *close_orphaned_runs(home)):
            sys.stderr.write(f"run {run_id} was cut off when the system stopped; it is reported as failed\n")
