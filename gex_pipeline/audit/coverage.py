"""Which days of which feeds there are, each with its state: from the database, from Parquet and from the lineage."""

import datetime as dt
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from gex_pipeline.audit.figures import DayFigures, StoredDay
from gex_pipeline.audit.on_disk import list_files, read_footers
from gex_pipeline.audit.states import State, decide, per_hour, usual_rate
from gex_pipeline.audit.stored import InDatabase, read_database
from gex_pipeline.errors import GexError
from gex_pipeline.feeds import Feed, WantedFeed
from gex_pipeline.history.export_plan import SETTLED_AFTER_MS
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.session_verdicts import DAYS_COMPARED
from gex_pipeline.settings import Settings
from gex_pipeline.trading_days import FIRST_DAY, sessions_before, trading_days

LEASE_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class DayCoverage:
    """One feed on one trading day: its state, why in one line, and the figures behind it."""

    figures: DayFigures
    state: State
    detail: str

    @property
    def partition(self) -> Partition:
        """Which feed and day."""
        return self.figures.partition

    def public(self) -> dict[str, Any]:
        """Return it as `GET /coverage` does; times are epoch milliseconds UTC."""
        first_ms, last_ms = self.figures.bounds_ms
        return {
            "feed": self.partition.feed.key,
            "date": self.partition.date.isoformat(),
            "state": self.state,
            "snapshots": self.figures.snapshots,
            "parquet_snapshots": self.figures.parquet_snapshots,
            "first": first_ms,
            "last": last_ms,
            "detail": self.detail,
        }


@dataclass(frozen=True)
class Coverage:
    """The days that were asked for.

    Attributes:
        days: by feed and date.
        problem: why the database could not be looked into, so that files alone were; empty when it could.
    """

    days: list[DayCoverage]
    problem: str = ""


def find_coverage(
    settings: Settings,
    feeds: Collection[Feed],
    first: dt.date | None,
    last: dt.date | None,
    now_ms: int,
    *,
    lease_timeout_seconds: float = LEASE_TIMEOUT_SECONDS,
) -> Coverage:
    """Return the state of each trading day, from the first one of a feed: of GEX_FEEDS, or that is known of it.

    Args:
        settings: where everything is.
        feeds: only these; all when empty.
        first: the first day wanted; None: from the beginning.
        last: the last day wanted; None: the last one whose session ended half an hour ago. Later ones are left out.
        now_ms: epoch milliseconds UTC.
        lease_timeout_seconds: how long to wait for the database before files alone have to do.
    """
    database, problem = InDatabase({}, {}), ""
    try:
        database = read_database(settings, lease_timeout_seconds)
    except GexError as error:
        problem = str(error)
    files = list_files(settings)
    # A day that somebody tried to download in vain says nothing about when its feed began.
    tried = (partition for partition, day in database.imported.items() if day.had_file)
    known = {*database.stored, *tried, *files.published, *files.sources}
    end = min(last or dt.date.max, *sessions_before(now_ms - SETTLED_AFTER_MS, 1))

    def look(partition: Partition) -> DayFigures:
        return DayFigures(
            partition,
            None if problem else database.stored.get(partition, StoredDay()),
            read_footers(settings, partition) if partition in files.published else None,
            database.imported.get(partition),
            partition in files.sources,
            partition in files.absences,
            files.conflicts[partition],
        )

    note = f"; from files alone, because {problem}" if problem else ""
    days: list[DayCoverage] = []
    for feed, dates in _days_of_feeds(known, settings.feeds, feeds, end).items():
        # Days before the first one are only looked at for what is usual.
        start = bisect_left(dates, first or dt.date.min)
        rates: list[float] = []
        for date in dates[max(0, start - 2 * DAYS_COMPARED) :]:
            figures = look(Partition(feed, date))
            if first is None or date >= first:
                state, detail = decide(figures, usual_rate(rates), now_ms)
                days.append(DayCoverage(figures, state, f"{detail}{note}"))
            rates += filter(None, [per_hour(figures)])
    return Coverage(days, problem)


def _days_of_feeds(
    known: Collection[Partition], wanted: Iterable[WantedFeed], feeds: Collection[Feed], end: dt.date
) -> dict[Feed, list[dt.date]]:
    """Return the trading days of each feed, feeds in their order.

    They begin with the feed's first day, or else with the first that is known of it. Of the days before, those are
    there of which something is known.
    """
    known_days: defaultdict[Feed, set[dt.date]] = defaultdict(set)
    for partition in known:
        if FIRST_DAY <= partition.date <= end:
            known_days[partition.feed].add(partition.date)
    first_days = {feed: min(dates) for feed, dates in known_days.items()}
    first_days |= {each.feed: each.first for each in wanted if each.first is not None}
    sessions = trading_days(min([*first_days.values(), *chain(*known_days.values())]), end) if first_days else []
    return {
        feed: [date for date in sessions if date >= first_days[feed] or date in known_days[feed]]
        for feed in sorted(first_days)
        if not feeds or feed in feeds
    }
