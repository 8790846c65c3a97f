"""How Dagster's storage grows: what the UI asks and our own ticks with 10,000 materialized partitions, beside 100."""

from dataclasses import dataclass

from gex_pipeline.bench.instance_run import InstanceFigures
from gex_pipeline.bench.turns import Tell, in_fresh_process, scratch_folder

MANY, FEW = 10_000, 100


@dataclass(frozen=True)
class InstanceComparison:
    """Two instances that were asked the same."""

    few: InstanceFigures
    many: InstanceFigures


def compare_instances(*, partitions: int, tell: Tell) -> InstanceComparison:
    """Fill two instances with materializations and verdicts as imports leave them, and measure both.

    Raises:
        BenchmarkError: a run failed.
    """
    measured = []
    for count in (min(FEW, partitions), partitions):
        tell(f"an instance of {count:,} partitions")
        with scratch_folder() as folder:
            measured.append(in_fresh_process("instance_run", count, cwd=folder, result=InstanceFigures))
    return InstanceComparison(*measured)
