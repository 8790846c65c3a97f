"""Why a run failed, read from its events."""

from dataclasses import dataclass

import dagster as dg

from gex_pipeline.history.assets import IS_TRANSIENT


@dataclass(frozen=True)
class RunFailure:
    """Why a run failed.

    Attributes:
        is_transient: another run may do better.
        lost_process: no step failed: the run's process ended before the run did.
    """

    error: str
    is_transient: bool
    lost_process: bool = False


def why_failed(instance: dg.DagsterInstance, run_id: str) -> RunFailure:
    """Return why a run failed.

    A step that raised `Failure` says whether it will fail again; a blocking check will. A run without a failed step
    lost its process.
    """
    for event in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        if event.dagster_event is None:
            continue
        failure = event.dagster_event.step_failure_data
        if failure.user_failure_data is not None:
            told = failure.user_failure_data
            return RunFailure(told.description or "the run failed", IS_TRANSIENT in told.metadata)
        error = failure.error
        while error is not None and error.cause is not None:
            error = error.cause
        text = error.message.strip() if error else "a step failed"
        if "AssetCheck" in text:
            return RunFailure(_failed_checks(instance, run_id) or text, is_transient=False)
        return RunFailure(text.partition(": ")[2] or text, is_transient=True)
    return RunFailure("the run's process ended before the run did", is_transient=True, lost_process=True)


def _failed_checks(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return what the failed checks of a run found, in one line."""
    found = []
    for event in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        if event.dagster_event is None:
            continue
        check = event.dagster_event.asset_check_evaluation_data
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR:
            found.append(f"{check.asset_key.to_user_string()} {check.check_name}: {check.description}")
    return "; ".join(found)
