"""NYSE trading days and session hours, from exchange_calendars; New York time only through these functions."""

import datetime as dt
import warnings
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from gex_pipeline.errors import PermanentError

NEW_YORK = ZoneInfo("America/New_York")
FIRST_DAY = dt.date(2022, 1, 3)
LONGEST_BREAK_DAYS = 14
# The holidays of the years to come follow from rules, so a process that runs over New Year has them all.
LAST_DAY = dt.date(dt.datetime.now(NEW_YORK).year + 5, 12, 31)


@lru_cache(maxsize=1)
def _calendar() -> Any:  # noqa: ANN401 - the library is untyped
    import exchange_calendars  # noqa: PLC0415 - it brings Pandas with it, and the time in New York needs neither

    with warnings.catch_warnings():
        # The library calls pandas in a way that pandas 3.1 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        return exchange_calendars.get_calendar("XNYS", start=FIRST_DAY.isoformat(), end=LAST_DAY.isoformat())


def is_trading_day(date: dt.date) -> bool:
    """Tell whether the NYSE trades on a day; no day before FIRST_DAY or after LAST_DAY is one."""
    return FIRST_DAY <= date <= LAST_DAY and bool(_calendar().is_session(date.isoformat()))


def closed_weekdays() -> list[dt.date]:
    """Return the weekdays without trading from FIRST_DAY to LAST_DAY."""
    sessions = {session.date() for session in _calendar().sessions}
    days = (LAST_DAY - FIRST_DAY).days
    all_days = (FIRST_DAY + dt.timedelta(days=day) for day in range(days + 1))
    return [day for day in all_days if day.weekday() < 5 and day not in sessions]


@lru_cache(maxsize=4096)
def session_bounds_ms(date: dt.date) -> tuple[int, int]:
    """Return open and close of a trading day as epoch milliseconds UTC; half days close at 13:00 New York."""
    calendar = _calendar()
    label = date.isoformat()
    opened, closed = calendar.session_open(label), calendar.session_close(label)
    return int(opened.timestamp() * 1000), int(closed.timestamp() * 1000)


def session_from(now_ms: int) -> tuple[int, int]:
    """Return open and close (epoch ms UTC) of the session that is on at a moment, or else of the next one.

    Raises:
        PermanentError: the calendar ends before the next one; a new process has a longer calendar.
    """
    today = new_york_time(now_ms).date()
    for date in (today + dt.timedelta(days=days) for days in range(LONGEST_BREAK_DAYS)):
        if is_trading_day(date) and now_ms < session_bounds_ms(date)[1]:
            return session_bounds_ms(date)
    raise PermanentError(f"the calendar of trading days has no session after {today}")


def trading_days(first: dt.date, last: dt.date) -> list[dt.date]:
    """Return the trading days from one day to another, both included."""
    days = (first + dt.timedelta(days=days) for days in range((last - first).days + 1))
    return [day for day in days if is_trading_day(day)]


def sessions_before(now_ms: int, count: int) -> list[dt.date]:
    """Return the last trading days that had closed at a moment, so many of them, the oldest first."""
    today = new_york_time(now_ms).date()
    recent = trading_days(today - dt.timedelta(days=2 * count + LONGEST_BREAK_DAYS), today)
    return [day for day in recent if session_bounds_ms(day)[1] <= now_ms][-count:]


def sessions_around(now_ms: int) -> list[tuple[int, int]]:
    """Return open and close (epoch ms UTC) of the last session that had closed at a moment, and of those after it."""
    [last_closed] = sessions_before(now_ms, 1)
    last = new_york_time(now_ms).date() + dt.timedelta(days=LONGEST_BREAK_DAYS)
    return [session_bounds_ms(day) for day in trading_days(last_closed, last)]


def day_bounds_ms(date: dt.date) -> tuple[int, int]:
    """Return the first and the last millisecond of a calendar day in New York, as epoch milliseconds UTC."""
    midnight = dt.datetime.combine(date, dt.time(), NEW_YORK)
    next_midnight = dt.datetime.combine(date + dt.timedelta(days=1), dt.time(), NEW_YORK)
    return int(midnight.timestamp() * 1000), int(next_midnight.timestamp() * 1000) - 1


def new_york_time(timestamp_ms: int) -> dt.datetime:
    """Return epoch milliseconds as New York time."""
    return dt.datetime.fromtimestamp(timestamp_ms / 1000, NEW_YORK)


def session_opened_ms(now_ms: int) -> int | None:
    """Return when the session that is on at a moment was opened (both epoch ms UTC); None while none is."""
    today = new_york_time(now_ms).date()
    if not is_trading_day(today):
        return None
    opens_ms, closes_ms = session_bounds_ms(today)
    return opens_ms if opens_ms <= now_ms < closes_ms else None


def recent_since_ms(now_ms: int) -> int:
    """Return the first millisecond of the last trading day before the New York day of a moment (epoch ms UTC).

    No break is longer than two weeks; where the calendar knows of none so near, it is two weeks.
    """
    today = new_york_time(now_ms).date()
    days = [today - dt.timedelta(days=ago) for ago in range(1, 15)]
    return day_bounds_ms(next((day for day in days if is_trading_day(day)), days[-1]))[0]
