"""How Dagster starts the process of a run: by forking one that has everything imported."""

import select
import subprocess
import sys
from contextlib import suppress
from threading import Lock

import dagster as dg
from dagster._core.errors import DagsterLaunchFailedError
from dagster._core.launcher import LaunchRunContext
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData, serialize_value

from gex_pipeline.orphaned_runs import PROCESS_TAG, STARTER_TAG
from gex_pipeline.process_mark import interrupt, process_mark

STARTER = [sys.executable, "-m", "gex_pipeline.run_starter"]
ANSWER_SECONDS = 120.0


class ForkingRunLauncher(dg.DefaultRunLauncher):
    """Forks runs from a starter, which the first run starts.

    Runs of another Python, or on a system that is no Linux, are launched as Dagster does by default.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._lock = Lock()
        self._starter: subprocess.Popen[bytes] | None = None

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the process of a run; it tags the run with its mark.

        Raises:
            DagsterLaunchFailedError: neither the starter nor a new one forked it.
        """
        run, origin = context.dagster_run, context.job_code_origin
        if sys.platform != "linux" or origin is None or origin.executable_path != sys.executable:
            super().launch_run(context)
            return
        arguments = ExecuteRunArgs(job_origin=origin, run_id=run.run_id, instance_ref=self._instance.get_ref())
        with self._lock:
            for _ in range(2):
                starter = self._running_starter()
                self._instance.add_run_tags(run.run_id, {STARTER_TAG: process_mark(starter.pid)})
                if _ask(starter, serialize_value(arguments).encode() + b"\n"):
                    return
        raise DagsterLaunchFailedError("the process that forks runs does not answer; see the log of the daemon")  # type: ignore[no-untyped-call]

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run's process, as Ctrl-C does; return False when it is gone or not this machine's."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or PROCESS_TAG not in run.tags or run.is_finished:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        return interrupt(run.tags[PROCESS_TAG])

    def dispose(self) -> None:
        """End the starter; its runs go on."""
        if self._starter is not None:
            self._starter.communicate()

    def _running_starter(self) -> subprocess.Popen[bytes]:
        if self._starter is None or self._starter.poll() is not None:
            self.dispose()
            self._starter = subprocess.Popen(STARTER, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._starter


def _ask(starter: subprocess.Popen[bytes], line: bytes) -> bool:
    """Have a run forked; return whether that was done, and end a starter that does not do it."""
    orders, answers = starter.stdin, starter.stdout
    if orders is None or answers is None:
        raise ValueError("the starter has no pipes")
    with suppress(BrokenPipeError):
        orders.write(line)
        if select.select([answers], [], [], ANSWER_SECONDS)[0] and answers.readline():
            return True
    starter.kill()
    starter.communicate()
    return False
