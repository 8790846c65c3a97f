"""What operators are told of runs that failed for good: one message for many of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from gex_pipeline.errors import without_secrets
from gex_pipeline.notify import Message

LISTED = 20
ERROR_LENGTH = 300
ASSET_JOB = "__ASSET_JOB"


@dataclass(frozen=True)
class FailedRun:
    """A run, or an announced file that got none, that failed for good.

    Attributes:
        partition: its key, None for a job without partitions.
        run_id: None for an announced file that got no run.
    """

    job: str
    partition: str | None
    error: str
    run_id: str | None

    @property
    def name(self) -> str:
        """The job and its partition."""
        job = "materialization" if self.job == ASSET_JOB else self.job
        return f"{job} of {self.partition}" if self.partition else job


def of_runs(failed: Sequence[FailedRun], dagster_url: str) -> Message:
    """Tell of runs, at least one, with the reason of each and where to look; the first of many stand for all."""
    lines = []
    for each in failed[:LISTED]:
        where = f"{dagster_url}/runs/{each.run_id}" if each.run_id else "it got no run"
        lines.append(f"{_line(each)}\n{where}" if len(failed) > 1 else f"{_reason(each)}\n{where}")
    title = f"{failed[0].name} failed" if len(failed) == 1 else f"{len(failed)} runs failed"
    return Message(title, "\n".join([*lines, *_others(len(failed), f"{dagster_url}/runs")]))


def of_backfill(backfill_id: str, failed: Sequence[FailedRun], failures: int, runs: int, dagster_url: str) -> Message:
    """Tell of a backfill that has ended.

    Args:
        backfill_id: which.
        failed: the first of the runs that failed.
        failures: how many failed.
        runs: how many there were.
        dagster_url: where the UI is.
    """
    where = f"{dagster_url}/runs/b/{backfill_id}"
    lines = [where, *(_line(each) for each in failed[:LISTED]), *_others(failures, where)]
    return Message(f"{failures} of {runs} runs of the backfill {backfill_id} failed", "\n".join(lines))


def _line(failed: FailedRun) -> str:
    return f"{failed.name}: {_reason(failed)}"


def _reason(failed: FailedRun) -> str:
    line = " ".join(without_secrets(failed.error).split())
    return line if len(line) <= ERROR_LENGTH else f"{line[: ERROR_LENGTH - 3]}..."


def _others(count: int, where: str) -> list[str]:
    return [f"and {count - LISTED} more: {where}"] if count > LISTED else []
