"""The chart of a day has its lines, its colours and its axes in the right places."""

import datetime as dt
from typing import Any

import numpy as np
import pytest

from gex_pipeline.pictures.day_chart import BOTTOM, LEFT, RIGHT, SPOT, TOP, ZERO_GAMMA, Session, day_chart
from gex_pipeline.pictures.heat_map import NEGATIVE, POSITIVE, Ladders
from gex_pipeline.pictures.markdown import drawn
from gex_pipeline.trading_days import session_bounds_ms
from gex_pipeline_tests.pictures.seen import Seen, see

DAY, HALF_DAY = dt.date(2025, 11, 14), dt.date(2025, 11, 28)
STEP_MS = 30_000
LADDER = np.arange(90.0, 111.0)


def session(date: dt.date = DAY, **changed: Any) -> Session:
    """Return a day whose spot rises from 95 to 105 while zero gamma falls; 108 is positive and 92 negative."""
    opened, closed = session_bounds_ms(date)
    times = np.arange(opened, closed + 1, STEP_MS)
    share = (times - opened) / (closed - opened)
    moments = np.repeat(times[::2], len(LADDER))
    strikes = np.tile(LADDER, len(times[::2]))
    values = np.select([strikes == 108, strikes == 92], [500.0, -500.0], 0.0)
    whole = Session(
        "SPX", opened, closed, times, 95 + 10 * share, 105 - 10 * share, Ladders(moments, strikes, values), 60_000
    )
    return whole._replace(**changed)


def seen_of(day: Session) -> Seen:
    return see(drawn(lambda: day_chart(day), "a day"))


def test_the_lines_run_where_spot_and_zero_gamma_were() -> None:
    seen = seen_of(session())
    (spot,), (zero_gamma,) = seen.paths[SPOT], seen.paths[ZERO_GAMMA]
    assert (spot[0][0], spot[-1][0]) == (LEFT, RIGHT)
    assert spot[0][1] == zero_gamma[-1][1] > spot[-1][1] == zero_gamma[0][1]
    middle = len(spot) // 2
    assert abs(spot[middle][1] - zero_gamma[middle][1]) <= 1
    assert all(TOP < y < BOTTOM for _, y in spot)
    assert {"spot 105.00", "zero gamma 95.00"} <= set(seen.texts)


def test_the_heat_map_lies_behind_the_lines_at_the_same_prices() -> None:
    """A strike with exposure is in the row of the picture where a spot at that price would be drawn."""
    for strike, colour in ((108, POSITIVE), (92, NEGATIVE)):
        at_strike = session(spot=np.full(781, float(strike)))
        seen = seen_of(at_strike)
        row = int((seen.paths[SPOT][0][0][1] - TOP) / (BOTTOM - TOP) * len(seen.heat_map))
        assert tuple(seen.heat_map[row, 100]) == (*colour, 255)
    assert seen.heat_map.shape[1] == 390


def test_what_is_missing_stays_empty_and_no_line_crosses_it() -> None:
    whole = session()
    hour = (whole.times > whole.opened_ms + 7_200_000) & (whole.times < whole.opened_ms + 10_800_000)
    kept = np.repeat(~hour[::2], len(LADDER))
    seen = seen_of(
        whole._replace(
            times=whole.times[~hour],
            spot=whole.spot[~hour],
            zero_gamma=whole.zero_gamma[~hour],
            ladders=Ladders(whole.ladders.times[kept], whole.ladders.strikes[kept], whole.ladders.values[kept]),
        )
    )
    before, after = seen.paths[SPOT]
    per_minute = (RIGHT - LEFT) / 390
    assert before[-1][0] == pytest.approx(LEFT + 121 * per_minute, abs=2)
    assert after[0][0] == pytest.approx(LEFT + 180 * per_minute, abs=2)
    opacity = seen.heat_map[:, :, 3].max(axis=0)
    assert (np.flatnonzero(opacity == 0) == np.arange(121, 179)).all()


def test_a_zero_gamma_of_0_is_not_drawn() -> None:
    assert ZERO_GAMMA not in seen_of(session(zero_gamma=np.zeros(781))).paths


def test_a_zero_gamma_far_from_all_strikes_leaves_the_prices_as_they_are() -> None:
    far = session(zero_gamma=np.full(781, 5.0))
    assert prices(seen_of(far)) == prices(seen_of(session()))


def prices(seen: Seen) -> list[str]:
    return [text for text in seen.texts if text.replace(".", "").isdigit()]


@pytest.mark.parametrize(
    ("date", "hours"),
    [
        (DAY, ["10:00", "11:00", "12:00", "13:00", "14:00", "15:00", "16:00 New York"]),
        (HALF_DAY, ["10:00", "11:00", "12:00", "13:00 New York"]),
    ],
)
def test_the_time_axis_names_the_hours_of_the_session(date: dt.date, hours: list[str]) -> None:
    seen = seen_of(session(date))
    assert [text for text in seen.texts if ":" in text] == hours
    assert 3 <= len(prices(seen)) <= 8


def test_a_day_without_a_spot_in_the_session_has_no_picture() -> None:
    nothing = np.full(781, np.nan)
    assert drawn(lambda: day_chart(session(spot=nothing)), "a day") == ""
    empty = np.empty(0)
    none = Ladders(empty.astype(np.int64), empty, empty)
    no_rows = session(times=empty.astype(np.int64), spot=empty, zero_gamma=empty, ladders=none)
    assert drawn(lambda: day_chart(no_rows), "a day") == ""


def test_a_day_without_ladders_has_its_lines() -> None:
    empty = np.empty(0)
    seen = seen_of(session(ladders=Ladders(empty.astype(np.int64), empty, empty)))
    assert len(seen.paths[SPOT][0]) > 100
    assert (seen.heat_map[:, :, 3] == 0).all()


def test_what_cannot_be_drawn_is_logged_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    assert drawn(lambda: day_chart(session(spot="no numbers")), "SPX on a day") == ""
    assert "there is no picture of SPX on a day" in caplog.text
