"""How days that are to be looked at are put together for people."""

import datetime as dt

from gex_pipeline.audit.coverage import DayCoverage
from gex_pipeline.audit.figures import DayFigures, ImportedDay
from gex_pipeline.audit.report import not_well, stretches
from gex_pipeline.audit.states import State
from gex_pipeline.audit.verifying import VerifiedDay
from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition

SPX, NDX = Feed("SPX", "gex_zero"), Feed("NDX", "gex_zero")


def day(number: int, state: State, feed: Feed = SPX, outcome: str = "imported", error: str = "") -> VerifiedDay:
    figures = DayFigures(Partition(feed, dt.date(2025, 11, number)), imported=ImportedDay(outcome))
    return VerifiedDay(DayCoverage(figures, state, f"detail {number}"), error=error)


def told(*verified: VerifiedDay) -> list[str]:
    return [f"{each.dates} {each.days[0].day.state}" for each in stretches(verified)]


def test_consecutive_days_of_one_feed_and_state_are_one_line_and_findings_come_first() -> None:
    assert told(
        *(day(number, "expired") for number in (3, 4, 5)),
        day(6, "partial"),
        day(7, "partial"),
        day(10, "missing"),
        day(11, "missing", outcome="refused"),
        day(12, "missing"),
        day(13, "missing"),
        day(13, "missing", NDX),
        day(14, "conflicting", NDX),
    ) == [
        "2025-11-06 partial",
        "2025-11-07 partial",
        "2025-11-11 missing",
        "2025-11-14 conflicting",
        "2025-11-03 to 2025-11-05 (3 days) expired",
        "2025-11-10 missing",
        "2025-11-12 to 2025-11-13 (2 days) missing",
        "2025-11-13 missing",
    ]


def test_days_that_are_well_are_left_out_and_end_a_stretch() -> None:
    assert told(day(3, "expired"), day(4, "complete"), day(5, "expired"), day(6, "never_published")) == [
        "2025-11-03 expired",
        "2025-11-05 expired",
    ]


def test_days_that_could_not_be_checked_for_one_reason_are_one_line() -> None:
    busy = [day(number, "complete", error="busy") for number in (3, 4)]
    assert told(*busy, day(5, "complete", error="broken")) == [
        "2025-11-03 to 2025-11-04 (2 days) complete",
        "2025-11-05 complete",
    ]


def test_a_table_counts_the_days_that_it_leaves_out() -> None:
    table = not_well([day(3, "partial"), *(day(number, "expired") for number in (4, 5, 6))], 1)
    assert "| SPX:gex_zero | 2025-11-03 | partial | detail 3 |" in table
    assert table.endswith("3 more days are in the report.")
