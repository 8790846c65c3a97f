"""Which days are fetched in an evening, in which order and how often, and which are about to be lost."""

import datetime as dt

import pytest

from gex_pipeline.feeds import Feed, WantedFeed
from gex_pipeline.history.fetch_plan import STEP, Tries, expiring_days, missing_days, plan_fetches
from gex_pipeline.history.paths import Partition
from gex_pipeline_tests.live_days import at

ZERO, FULL = Feed("SPX", "gex_zero"), Feed("NQ_NDX", "gex_full")
ONE, BOTH = [WantedFeed(ZERO)], [WantedFeed(ZERO), WantedFeed(FULL)]
EVENING = "2025-11-19 21:45:00"


def moment(text: str) -> int:
    return int(at(text).timestamp() * 1000)


def keys(partitions: list[Partition]) -> list[str]:
    return [each.key for each in partitions]


def spx(*days: str) -> list[Partition]:
    return [Partition(ZERO, dt.date.fromisoformat(day)) for day in days]


def planned(
    missing: list[Partition], *, under_way: list[Partition] | None = None, tries: Tries | None = None
) -> list[Partition]:
    return plan_fetches(missing, under_way or [], tries or {}, max_tries=3, now_ms=moment(EVENING))


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2025-11-19 16:14:59", "2025-11-18"),
        ("2025-11-19 16:15:00", "2025-11-19"),
        ("2025-11-28 13:14:59", "2025-11-26"),  # a half day, after a holiday
        ("2025-11-28 13:15:00", "2025-11-28"),
        ("2025-11-30 12:00:00", "2025-11-28"),
        ("2026-03-06 16:15:00", "2026-03-06"),
        ("2026-03-09 16:14:59", "2026-03-06"),  # summer time
        ("2026-03-09 16:15:00", "2026-03-09"),
    ],
)
def test_a_day_is_missing_a_quarter_of_an_hour_after_its_own_close(now: str, last: str) -> None:
    assert missing_days(ONE, [], moment(now))[-1].key == f"{last}|SPX:gex_zero"


@pytest.mark.parametrize(
    ("now", "first"), [("2026-02-12 23:59:59", "2025-11-14"), ("2026-02-13 00:00:00", "2025-11-17")]
)
def test_what_gexbot_no_longer_keeps_is_not_missing(now: str, first: str) -> None:
    assert missing_days(ONE, [], moment(now))[0].key == f"{first}|SPX:gex_zero"


def test_what_was_imported_is_not_missing_and_other_feeds_of_the_day_are() -> None:
    everything = missing_days(BOTH, [], moment(EVENING))
    assert keys(everything[-4:]) == [
        "2025-11-18|NQ_NDX:gex_full",
        "2025-11-18|SPX:gex_zero",
        "2025-11-19|NQ_NDX:gex_full",
        "2025-11-19|SPX:gex_zero",
    ]
    assert missing_days(BOTH, [everything[-3]], moment(EVENING)) == everything[:-3] + everything[-2:]
    assert missing_days([], [], moment(EVENING)) == []


def test_days_before_a_feed_s_first_are_not_missing() -> None:
    feeds = [WantedFeed(ZERO, dt.date(2025, 11, 18)), WantedFeed(FULL, dt.date(2025, 11, 19))]
    assert keys(missing_days(feeds, [], moment(EVENING))) == [
        "2025-11-18|SPX:gex_zero",
        "2025-11-19|NQ_NDX:gex_full",
        "2025-11-19|SPX:gex_zero",
    ]


def test_the_last_session_comes_first_and_then_what_expires_next_a_few_at_a_time() -> None:
    missing = missing_days(BOTH, [], moment(EVENING))
    assert planned(missing) == missing[-2:] + missing[: STEP - 2]


def test_what_is_under_way_is_left_alone_and_takes_its_share_of_the_step() -> None:
    missing = missing_days(ONE, [], moment(EVENING))
    assert planned(missing, under_way=missing[-1:]) == missing[: STEP - 1]
    assert planned(missing, under_way=missing[5 : 5 + STEP]) == []
    assert planned(missing, under_way=missing[5 : 10 + STEP]) == []


@pytest.mark.parametrize(
    ("tried", "is_tried"),
    [
        ([], True),
        (["2025-11-18"], True),
        (["2025-11-19"], False),
        (["2025-11-17", "2025-11-18"], True),
        (["2025-11-14", "2025-11-17", "2025-11-18"], False),
    ],
)
def test_what_failed_is_tried_again_on_another_day_and_three_times_in_all(tried: list[str], is_tried: bool) -> None:
    missing = spx("2025-11-12")
    days = [dt.date.fromisoformat(day) for day in tried]
    assert planned(missing, tries={missing[0]: days}) == (missing if is_tried else [])


@pytest.mark.parametrize(
    ("now", "is_warned"),
    [
        ("2026-02-01 12:00:00", False),
        ("2026-02-02 12:00:00", True),  # the day is 80 days old
        ("2026-02-12 12:00:00", True),
    ],
)
def test_a_missing_day_is_warned_of_in_its_last_ten_days(now: str, is_warned: bool) -> None:
    missing = spx("2025-11-14", "2026-01-30")
    assert expiring_days(missing, {}, max_tries=3, now_ms=moment(now)) == (missing[:1] if is_warned else [])


def test_a_day_that_gexbot_denied_three_times_is_not_warned_of() -> None:
    [day] = missing = spx("2025-11-14")
    now_ms = moment("2026-02-10 12:00:00")
    denials = [dt.date(2025, 11, 17), dt.date(2025, 11, 18), dt.date(2025, 11, 19)]
    assert expiring_days(missing, {day: denials[:2]}, max_tries=3, now_ms=now_ms) == [day]
    assert expiring_days(missing, {day: denials}, max_tries=3, now_ms=now_ms) == []
