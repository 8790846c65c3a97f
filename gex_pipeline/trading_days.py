"""NYSE trading days and session hours, from exchange_calendars; New York time only through these functions."""

import datetime as dt
import warnings
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import exchange_calendars

NEW_YORK = ZoneInfo("America/New_York")
FIRST_DAY = dt.date(2022, 1, 3)
# The holidays of the years to come follow from rules, so a process that runs over New Year has them all.
LAST_DAY = dt.date(dt.datetime.now(NEW_YORK).year + 5, 12, 31)


@lru_cache(maxsize=1)
def _calendar() -> Any:  # noqa: ANN401 - the library is untyped
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


def session_bounds_ms(date: dt.date) -> tuple[int, int]:
    """Return open and close of a trading day as epoch milliseconds UTC; half days close at 13:00 New York."""
    calendar = _calendar()
    label = date.isoformat()
    opened, closed = calendar.session_open(label), calendar.session_close(label)
    return int(opened.timestamp() * 1000), int(closed.timestamp() * 1000)


def day_bounds_ms(date: dt.date) -> tuple[int, int]:
    """Return the first and the last millisecond of a calendar day in New York, as epoch milliseconds UTC."""
    midnight = dt.datetime.combine(date, dt.time(), NEW_YORK)
    next_midnight = dt.datetime.combine(date + dt.timedelta(days=1), dt.time(), NEW_YORK)
    return int(midnight.timestamp() * 1000), int(next_midnight.timestamp() * 1000) - 1


def new_york_time(timestamp_ms: int) -> dt.datetime:
    """Return epoch milliseconds as New York time."""
    return dt.datetime.fromtimestamp(timestamp_ms / 1000, NEW_YORK)
