"""What every benchmark has to reach, in one table, and the verdict on what was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Literal

IMPORT_RATIO = "import: times as fast as the plain yardstick"
IMPORT_LEASE = "import: seconds the database is held to write"
IMPORT_MEMORY = "import: peak MB"
GROWN_RATIO = "import into a grown database: times as long as into an empty one"
FOURFOLD_RATIO = "import of a file four times as large: times as long per MB"
FOURFOLD_MEMORY = "import of a file four times as large: peak MB"
CAPTURE_RATIO = "capture: requests/s as a part of a no-op route's"
CAPTURE_TAIL = "capture: p99, times a no-op route's"
CAPTURE_GAIN = "capture: times as fast as a connection for each request"
BACKLOG_SPEED = "backlog: snapshots/s loaded after an outage"
BACKLOG_MEMORY = "backlog: peak MB of the loader"
QUERY_NEWEST = "queries beside imports: p95 ms of the newest snapshot"
QUERY_PUBLISHED = "queries beside imports: p95 ms of an hour of a published day as JSON"
QUERY_TODAY = "queries beside imports: p95 ms of an hour of today as JSON"
QUERY_CAPTURES = "captures beside imports and queries: p95, times that without queries"


@dataclass(frozen=True)
class Bound:
    """What one benchmark may not fall under (`at least`) or go over (`at most`)."""

    benchmark: str
    kind: Literal["at least", "at most"]
    limit: float


# Well under what is reached on a quiet machine, so that a noisy one does not trip them. Memory hardly varies.
BOUNDS = (
    Bound(IMPORT_RATIO, "at least", 1.0),
    Bound(IMPORT_LEASE, "at most", 3.0),
    Bound(IMPORT_MEMORY, "at most", 1_000),
    Bound(GROWN_RATIO, "at most", 1.3),
    Bound(FOURFOLD_RATIO, "at most", 1.3),
    Bound(FOURFOLD_MEMORY, "at most", 1_300),
    Bound(CAPTURE_RATIO, "at least", 0.25),
    Bound(CAPTURE_TAIL, "at most", 20),
    Bound(CAPTURE_GAIN, "at least", 60),
    Bound(BACKLOG_SPEED, "at least", 1_000),
    Bound(BACKLOG_MEMORY, "at most", 500),
    Bound(QUERY_NEWEST, "at most", 25),
    Bound(QUERY_PUBLISHED, "at most", 250),
    Bound(QUERY_TODAY, "at most", 300),
    Bound(QUERY_CAPTURES, "at most", 3),
)


@dataclass(frozen=True)
class Judged:
    """What a benchmark measured, nan when nothing did, and what it had to."""

    bound: Bound
    measured: float

    @property
    def holds(self) -> bool:
        """Whether the bound is kept; a benchmark that measured nothing keeps none."""
        if self.bound.kind == "at least":
            return self.measured >= self.bound.limit
        return self.measured <= self.bound.limit

    @property
    def word(self) -> str:
        """`ok`, `LOW` or `HIGH`."""
        if self.holds:
            return "ok"
        return "LOW" if self.bound.kind == "at least" else "HIGH"


def judge(measured: Mapping[str, float], bounds: Sequence[Bound] = BOUNDS) -> tuple[list[Judged], int]:
    """Compare what was measured with its bounds.

    Returns:
        The verdicts in the bounds' order, and the exit status: 1 when one does not hold, else 0.
    """
    judged = [Judged(bound, measured.get(bound.benchmark, nan)) for bound in bounds]
    return judged, int(not all(each.holds for each in judged))
