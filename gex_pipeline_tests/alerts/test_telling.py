"""What is told when: once, once more when it is over, and never too often."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gex_pipeline.alerts.conditions import CONDITIONS, Findings
from gex_pipeline.alerts.telling import FORGOTTEN_MS, QUIET_MS, News, Standing, decide

SECOND = 1000
MINUTE = 60_000
START = 1_763_139_600_000
Step = tuple[int, Findings]

KEYS = ("disk", "loader", "silent_feed SPX:gex_zero", "silent_feed NQ_NDX:gex_one")
findings = st.dictionaries(st.sampled_from(KEYS), st.none() | st.just("why"))
steps = st.lists(st.tuples(st.integers(0, 30 * MINUTE), findings), max_size=40)


def told(*steps: Step) -> list[tuple[int, News]]:
    """Return what is told at which moment; a step is the milliseconds since the one before, and what is found."""
    standings: dict[str, Standing] = {}
    now, all_news = START, []
    for passed_ms, found in steps:
        now += passed_ms
        news, standings = decide(standings, found, now)
        all_news += [(now - START, each) for each in news]
    return all_news


def test_a_condition_is_told_once_and_once_more_when_it_is_over() -> None:
    full: Findings = {"disk": "1 byte is free"}
    clear: Findings = {"disk": None}
    assert told((0, clear), (SECOND, full), (SECOND, full), (SECOND, full), (SECOND, clear), (SECOND, clear)) == [
        (SECOND, News("disk", "1 byte is free")),
        (4 * SECOND, News("disk", None)),
    ]


def test_what_does_not_hold_is_not_told_and_what_does_is() -> None:
    dead: Findings = {"loader": "it died"}
    clear: Findings = {"loader": None}
    hold_ms = int(CONDITIONS["loader"].hold_seconds * SECOND)
    assert told((0, dead), (hold_ms - 1, dead), (1, clear), (SECOND, dead)) == []
    assert told((0, dead), (hold_ms, dead)) == [(hold_ms, News("loader", "it died"))]
    over = told((0, dead), (hold_ms, dead), (SECOND, clear), (hold_ms - 1, clear), (1, clear))
    assert over[1:] == [(2 * hold_ms + SECOND, News("loader", None))]


def test_a_condition_that_comes_back_is_told_again_only_after_a_while_and_only_if_it_is_still_there() -> None:
    full: Findings = {"disk": "full"}
    clear: Findings = {"disk": None}
    assert [at for at, _ in told((0, full), (MINUTE, clear), (MINUTE, full), (MINUTE, clear))] == [0, MINUTE]
    steps = (0, full), (MINUTE, clear), (MINUTE, full), (QUIET_MS - 2 * MINUTE - 1, full), (1, full)
    assert [at for at, _ in told(*steps)] == [0, MINUTE, QUIET_MS]


def test_what_cannot_be_judged_is_neither_told_nor_over() -> None:
    full: Findings = {"disk": "full"}
    assert [at for at, _ in told((0, full), (MINUTE, {}), (MINUTE, full), (MINUTE, {"disk": None}))] == [
        0,
        3 * MINUTE,
    ]
    hold_ms = int(CONDITIONS["loader"].hold_seconds * SECOND)
    assert told((0, {"loader": "died"}), (hold_ms, {}), (SECOND, {"loader": "died"})) == []


def test_feeds_are_conditions_of_their_own() -> None:
    news = told((0, {KEYS[2]: "silent"}), (SECOND, {KEYS[2]: "silent", KEYS[3]: "silent"}))
    assert news == [(0, News(KEYS[2], "silent")), (SECOND, News(KEYS[3], "silent"))]


def test_what_is_gone_is_forgotten_and_what_is_still_there_is_not() -> None:
    _, standings = decide({}, {KEYS[2]: "silent", "disk": "full"}, START)
    assert standings.keys() == {KEYS[2], "disk"}
    news, standings = decide(standings, {"disk": "full"}, START + FORGOTTEN_MS)
    assert news == []
    assert standings.keys() == {"disk"}
    news, standings = decide(standings, {"disk": None}, START + FORGOTTEN_MS)
    assert (news, standings) == ([News("disk", None)], {})


@pytest.mark.parametrize("back_ms", [MINUTE, 24 * 60 * MINUTE])
def test_a_clock_that_is_set_back_holds_nothing_up_for_longer_than_the_rule(back_ms: int) -> None:
    dead: Findings = {"loader": "died"}
    hold_ms = int(CONDITIONS["loader"].hold_seconds * SECOND)
    assert len(told((0, dead), (-back_ms, dead), (hold_ms, dead))) == 1
    full: Findings = {"disk": "full"}
    again = told((0, full), (0, {"disk": None}), (-back_ms, full), (QUIET_MS, full))
    assert len(again) == 3


@given(steps)
def test_whatever_is_found_alerts_and_ends_alternate_and_alerts_keep_their_distance(steps: list[Step]) -> None:
    for key in KEYS:
        of_key = [(at, news.reason) for at, news in told(*steps) if news.key == key]
        assert [reason is not None for _, reason in of_key] == [number % 2 == 0 for number in range(len(of_key))]
        alerts = [at for at, reason in of_key if reason is not None]
        assert all(later - earlier >= QUIET_MS for earlier, later in pairwise(alerts))


@given(steps)
def test_nothing_is_told_that_was_not_found_and_nothing_that_lasts_is_kept_back(steps: list[Step]) -> None:
    found_at_last: Findings = dict.fromkeys(KEYS, "why")
    lasting = [*steps, (0, found_at_last), (QUIET_MS, found_at_last)]
    known: dict[str, bool] = {}
    for _, news in told(*lasting):
        known[news.key] = news.reason is not None
    assert known == dict.fromkeys(KEYS, True)
    assert not [news for _, news in told(*[(passed, {}) for passed, _ in steps]) if news]


@given(steps)
def test_one_that_starts_again_in_between_tells_nothing_twice(steps: list[Step]) -> None:
    standings: dict[str, Standing] = {}
    now, known = START, dict.fromkeys(KEYS, False)
    for passed_ms, found in steps:
        now += passed_ms
        stored = msgspec.json.encode(standings)
        news, standings = decide(msgspec.json.decode(stored, type=dict[str, Standing]), found, now)
        for each in news:
            assert known[each.key] is (each.reason is None)
            known[each.key] = each.reason is not None
