"""What `gex up` puts in order before it starts anew: runs that were cut off are reported as failed."""

import sys

import dagster as dg
from dagster._core.storage.tags import GRPC_INFO_TAG

from gex_pipeline.dagster_home import limit_downloads

UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def close_orphaned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report as failed each unfinished run that the system had launched, so that it can run again.

    Call it while no daemon and no UI are running. Runs that somebody started from the command line carry no mark
    of a launcher and are left alone.

    Returns:
        The ids of the runs.
    """
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
    orphaned = [run for run in runs if GRPC_INFO_TAG in run.tags]
    for run in orphaned:
        instance.report_run_failed(run, "The run was cut off when the system stopped.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in orphaned]


if __name__ == "__main__":
    with dg.DagsterInstance.get() as home:
        limit_downloads(home)
        for run_id in close_orphaned_runs(home):
            sys.stderr.write(f"run {run_id} was cut off when the system stopped; it is reported as failed\n")
