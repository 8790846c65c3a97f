"""Re-checking what is stored: the checks of an import that need no import, and random looks into raw files."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gex_pipeline.audit.coverage import DayCoverage
from gex_pipeline.audit.spot_check import SpotCheck, check_spots
from gex_pipeline.audit.states import State
from gex_pipeline.errors import MalformedFileError
from gex_pipeline.history.bulk import FAILURES, Judged
from gex_pipeline.history.judging import PUBLISHED, STORED, Check, judge
from gex_pipeline.history.staging import read_summary
from gex_pipeline.history.verdicts import Verdict
from gex_pipeline.settings import Settings

SAMPLES = 5


@dataclass(frozen=True)
class VerifiedDay:
    """A day, and what its checks found now.

    Attributes:
        day: `conflicting` also when all seemed to be there and a check found that two places differ.
        judged: the checks that could be run.
        spots: None when nothing is stored, or it could not be looked at.
        error: why it could not be checked to the end; empty when it could.
    """

    day: DayCoverage
    judged: Judged = ()
    spots: SpotCheck | None = None
    error: str = ""

    @property
    def failed(self) -> list[tuple[Check, Verdict]]:
        """The checks that found an error."""
        return [(check, verdict) for check, verdict in self.judged if not verdict.passed and not check.is_warning]

    @property
    def warned(self) -> list[tuple[Check, Verdict]]:
        """The checks that found something unusual."""
        return [(check, verdict) for check, verdict in self.judged if not verdict.passed and check.is_warning]

    @property
    def differences(self) -> tuple[str, ...]:
        """What is not as the raw file says."""
        return self.spots.differences if self.spots else ()

    @property
    def is_well(self) -> bool:
        """Whether no person needs to look; warnings alone make nobody, nor does a day that GexBot never had."""
        return (
            self.day.state in {"complete", "never_published"}
            and not self.failed
            and not self.differences
            and not self.error
        )


def verify_days(settings: Settings, days: Sequence[DayCoverage], samples: int) -> Iterator[VerifiedDay]:
    """Check one day after the other; one that cannot be read is told and does not end it."""
    random_numbers = random.SystemRandom()
    for day in days:
        yield _verify(settings, day, samples, random_numbers)


def _verify(settings: Settings, day: DayCoverage, samples: int, random_numbers: random.Random) -> VerifiedDay:
    figures = day.figures
    if figures.stored is None:
        return VerifiedDay(day, error="the database could not be looked into")
    if not figures.stored.snapshots and figures.published is None:
        return VerifiedDay(day)
    judged: Judged = ()
    spots = None
    try:
        if _is_imported_staged(settings, day):
            judged += tuple(zip(STORED, judge(STORED, settings, figures.partition), strict=True))
        if figures.published is not None:
            judged += tuple(zip(PUBLISHED, judge(PUBLISHED, settings, figures.partition), strict=True))
        imported = figures.imported.hashes if figures.imported else frozenset[str]()
        spots = check_spots(settings, figures.partition, imported, samples, random_numbers)
    except FAILURES as error:
        return VerifiedDay(day, judged, error=" ".join(str(error).split()) or type(error).__name__)
    return _with_state(VerifiedDay(day, judged, spots))


def _is_imported_staged(settings: Settings, day: DayCoverage) -> bool:
    """Tell whether what is staged of a day is what was imported; a refused file stays staged, too."""
    imported = day.figures.imported
    try:
        summary = read_summary(day.partition.staged(settings, "snapshots"))
    except MalformedFileError:
        return False
    return imported is not None and summary.sha256 in imported.hashes


def _with_state(verified: VerifiedDay) -> VerifiedDay:
    """Call a day conflicting that seemed complete and of which two places were found to say different things."""
    found = [f"{check.asset} {check.name}: {verdict.description}" for check, verdict in verified.failed]
    found += verified.differences[:1]
    if not found:
        return verified
    day = verified.day
    state: State = "conflicting" if day.state == "complete" else day.state
    return replace(verified, day=replace(day, state=state, detail="; ".join((*found, day.detail))))
