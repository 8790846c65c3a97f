"""The strip of a session is orange where nothing is, and its bars are as high as there are snapshots."""

import datetime as dt
import re

import numpy as np

from gex_pipeline.pictures.markdown import drawn
from gex_pipeline.pictures.session_strip import BOTTOM, LEFT, MISSING, RIGHT, THERE, TOP, USUAL, session_strip
from gex_pipeline.pictures.svg import Times
from gex_pipeline.trading_days import session_bounds_ms
from gex_pipeline_tests.pictures.seen import Seen, see

OPENED, CLOSED = session_bounds_ms(dt.date(2025, 11, 14))
MINUTE = (RIGHT - LEFT) / 390


def strip(times: Times, *missing: tuple[int, int], usual: float | None = None) -> Seen:
    return see(drawn(lambda: session_strip(times, OPENED, CLOSED, missing, usual), "a session"))


def bars(seen: Seen) -> list[tuple[int, int]]:
    """Return where each bar begins and how high it is."""
    return [(int(x), int(height)) for x, height in re.findall(rf"M(\d+),{BOTTOM}v-(\d+)", seen.areas[THERE])]


def spans(seen: Seen) -> list[tuple[int, int]]:
    """Return where each missing stretch begins and how wide it is."""
    found = re.findall(rf"M(\d+),{TOP}h(\d+)v{BOTTOM - TOP}H", seen.areas[MISSING])
    return [(int(x), int(width)) for x, width in found]


def test_five_minutes_with_half_as_many_snapshots_have_a_bar_half_as_high() -> None:
    times = np.arange(OPENED, CLOSED, 1000)
    thinned = np.concatenate([times[times < OPENED + 300_000][::2], times[times >= OPENED + 300_000]])
    found = bars(strip(thinned))
    assert len(found) == 78
    assert found[0] == (LEFT, (BOTTOM - TOP) // 2)
    assert {height for _, height in found[1:]} == {BOTTOM - TOP}


def test_what_is_missing_is_where_it_is_in_the_session() -> None:
    hour = 3_600_000
    times = np.arange(OPENED, CLOSED, 1000)
    seen = strip(times[(times < OPENED + hour) | (times > OPENED + 2 * hour)], (OPENED + hour, OPENED + 2 * hour))
    ((left, width),) = spans(seen)
    assert abs(left - (LEFT + 60 * MINUTE)) <= 1
    assert abs(width - 60 * MINUTE) <= 1
    assert len(bars(seen)) == 66


def test_a_stretch_of_seconds_can_still_be_seen() -> None:
    ((_, width),) = spans(strip(np.arange(OPENED, CLOSED, 1000), (OPENED + 1000, OPENED + 32_000)))
    assert width == 2


def test_the_usual_number_is_told_when_it_is_known() -> None:
    times = np.arange(OPENED, CLOSED, 1000)
    assert "usual" not in strip(times).texts
    seen = strip(times, usual=7200)
    assert USUAL in seen.areas
    assert "usual" in seen.texts
    assert {height for _, height in bars(seen)} == {(BOTTOM - TOP) // 2}


def test_a_session_without_snapshots_is_all_missing() -> None:
    seen = strip(np.empty(0, np.int64), (OPENED, CLOSED))
    assert spans(seen) == [(LEFT, RIGHT - LEFT)]
    assert bars(seen) == []
    assert "16:00 New York" in seen.texts
