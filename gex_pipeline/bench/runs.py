"""What one run of an import measured, and what several of them come to."""

import resource
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

_RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class ImportRun:
    """What one import of a file needed, ours or a yardstick's.

    Attributes:
        stages: seconds of each step, in their order.
        peak_mb: the most memory the process ever had resident, 10^6 bytes.
        lease_seconds: how long the import held the database to write; 0 for a yardstick, which knows no leases.
        snapshots: imported; 0 for a yardstick, which does not say.
        strikes: likewise.
    """

    stages: dict[str, float]
    peak_mb: float
    lease_seconds: float = 0
    snapshots: int = 0
    strikes: int = 0

    @property
    def seconds(self) -> float:
        """All steps together."""
        return sum(self.stages.values())


@dataclass(frozen=True)
class ImportFigures:
    """Medians over the runs of one contender, and the most memory of any.

    Attributes:
        seconds: all steps together.
        fastest: seconds of the fastest run.
        slowest: seconds of the slowest run.
    """

    seconds: float
    fastest: float
    slowest: float
    stages: dict[str, float]
    lease_seconds: float
    peak_mb: float
    snapshots: int
    strikes: int


def summarise(runs: Sequence[ImportRun]) -> ImportFigures:
    """Put at least one run of one contender together."""
    totals = [run.seconds for run in runs]
    return ImportFigures(
        statistics.median(totals),
        min(totals),
        max(totals),
        {stage: statistics.median(run.stages[stage] for run in runs) for stage in runs[0].stages},
        statistics.median(run.lease_seconds for run in runs),
        max(run.peak_mb for run in runs),
        runs[0].snapshots,
        runs[0].strikes,
    )


def peak_mb() -> float:
    """Return the most memory this process ever had resident, 10^6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT_BYTES / 1e6
