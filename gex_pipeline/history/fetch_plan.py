"""Which days are fetched from GexBot by themselves, and which are about to be lost, decided from plain values."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence

from gex_pipeline.feeds import WantedFeed
from gex_pipeline.history.gexbot_api import KEPT_DAYS, first_kept_day
from gex_pipeline.history.paths import Partition
from gex_pipeline.trading_days import new_york_time, sessions_before

ASKED_AFTER_MS = 15 * 60_000
# So many partitions are on their way at a time; to ask for them takes a quarter of a minute.
STEP = 12
WARNED_BEFORE_DAYS = 10

# The New York days on which a partition was tried in vain.
Tries = Mapping[Partition, Sequence[dt.date]]


def missing_days(feeds: Collection[WantedFeed], imported: Collection[Partition], now_ms: int) -> list[Partition]:
    """Return what GexBot still keeps, or will publish this evening, and was not imported; the oldest first.

    Args:
        feeds: the wanted ones; days before their first are not missing.
        imported: partitions with an import of a history file.
        now_ms: epoch milliseconds, UTC. A day counts a quarter of an hour after its close.
    """
    days = sessions_before(now_ms - ASKED_AFTER_MS, KEPT_DAYS)
    kept = [day for day in days if day >= first_kept_day(now_ms)]
    by_name = sorted(feeds, key=lambda each: each.feed)
    wanted = (Partition(each.feed, day) for day in kept for each in by_name if each.wants(day))
    return [each for each in wanted if each not in imported]


def plan_fetches(
    missing: Sequence[Partition], under_way: Collection[Partition], tries: Tries, *, max_tries: int, now_ms: int
) -> list[Partition]:
    """Decide what to ask for now: the last session's files first, then those that expire next, a few at a time.

    Args:
        missing: in order of days.
        under_way: partitions of all runs that have not ended, which nothing else is started beside beyond STEP.
        tries: what was tried in vain; another attempt is for another day, up to `max_tries`.
        max_tries: days on which a partition is tried.
        now_ms: epoch milliseconds, UTC.
    """
    today = new_york_time(now_ms).date()
    wanted = [
        each
        for each in missing
        if each not in under_way and today not in (days := tries.get(each, ())) and len(days) < max_tries
    ]
    last_session = sessions_before(now_ms - ASKED_AFTER_MS, 1)[0]
    wanted.sort(key=lambda each: each.date != last_session)
    return wanted[: max(0, STEP - len(under_way))]


def expiring_days(missing: Sequence[Partition], absent: Tries, *, max_tries: int, now_ms: int) -> list[Partition]:
    """Return the missing partitions that GexBot deletes within WARNED_BEFORE_DAYS.

    Args:
        missing: in order of days.
        absent: on which days GexBot said that there is no such file; who was told so `max_tries` times believes it.
        max_tries: as in `plan_fetches`.
        now_ms: epoch milliseconds, UTC.
    """
    return [each for each in missing if is_expiring(each.date, now_ms) and len(absent.get(each, ())) < max_tries]


def is_expiring(date: dt.date, now_ms: int) -> bool:
    """Tell whether GexBot deletes the files of a New York day within WARNED_BEFORE_DAYS, and has not yet."""
    first = first_kept_day(now_ms)
    return first <= date <= first + dt.timedelta(days=WARNED_BEFORE_DAYS)
