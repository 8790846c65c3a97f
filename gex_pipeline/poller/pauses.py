"""How long to leave GexBot alone after it, or the gateway, did not answer as it should."""

import datetime as dt
from email.utils import parsedate_to_datetime

LONGEST_PAUSE_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 3600.0


def pause_seconds(failures: int, retry_after_seconds: float | None, jitter: float) -> float:
    """Return the seconds until the next attempt: 1-2, 2-4, 4-8 ... up to a minute, and never before Retry-After.

    Args:
        failures: in a row, 1 or more.
        retry_after_seconds: what the answer asked for, None when it did not.
        jitter: 0-1, so that feeds which failed together do not come back together.
    """
    longest = min(2.0 ** min(failures, 10), LONGEST_PAUSE_SECONDS)
    backoff = longest * (0.5 + jitter / 2)
    return backoff if retry_after_seconds is None else max(backoff, retry_after_seconds + jitter)


def read_retry_after(value: str | None, now: dt.datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, at most an hour; None when it says nothing usable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp() - now.timestamp()
    return min(seconds, LONGEST_RETRY_AFTER_SECONDS) if seconds > 0 else None
