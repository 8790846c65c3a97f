"""Whether a published day is a whole session: its hours, its gaps, and its cadence compared with days before."""

import datetime as dt
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from gex_pipeline.clock import epoch_ms
from gex_pipeline.history.observed import Day, ask, session_rows
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.verdicts import Subject, Verdict, clock, markdown
from gex_pipeline.pictures.markdown import drawn
from gex_pipeline.pictures.session_strip import session_strip
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import version_of
from gex_pipeline.trading_days import is_trading_day, new_york_time, session_bounds_ms

# The first tick comes about two seconds after the open; a slower feed may take as long as it takes between two.
EDGE_MS = 60_000
# The vendor's longest gap is 3 s; whoever polls more slowly has longer ones.
GAP_MS, GAP_STEPS = 30_000, 10
# The vendor once went from 23,370 snapshots a day to 17,850, 0.76 times as many, and that was no damage.
FEWEST, MOST = 0.67, 1.5
DAYS_COMPARED, DAYS_NEEDED = 10, 3


def session(subject: Subject, day: Day) -> Verdict:
    """The snapshots start and end with the session; outside of it nothing new is said."""
    opened, closed = session_bounds_ms(subject.partition.date)
    inside = day.times[(day.times >= opened) & (day.times <= closed + EDGE_MS)]
    new = _new_outside(subject, day, opened, closed + EDGE_MS)
    first, last = (int(inside[0]), int(inside[-1])) if len(inside) else (closed, opened)
    edge = EDGE_MS + day.usual_step_ms
    is_open = " and still open" if epoch_ms() < closed else ""
    passed = first - opened <= edge and closed - last <= edge and not new
    return Verdict(
        passed,
        f"{f'{_hour(first)} to {_hour(last)}' if len(inside) else 'nothing'} in the session, which is "
        f"{_hour(opened)} to {_hour(closed)} New York{is_open}; {len(new):,} snapshots outside say something new",
        {
            "seconds_late": (first - opened) / 1000,
            "seconds_short": max(0, closed - last) / 1000,
            "outside": len(day.times) - len(inside),
            "outside_and_new": len(new),
        },
        markdown(("outside the session", "spot"), [(clock(time), spot) for time, spot in new[:5]]),
        "" if passed else _strip(subject, day),
    )


def gaps(subject: Subject, day: Day) -> Verdict:
    """No stretch of the session is without snapshots for much longer than is usual on the day."""
    opened, closed = session_bounds_ms(subject.partition.date)
    times = day.times[(day.times >= opened) & (day.times <= closed)]
    steps = np.diff(times)
    most = gap_limit_ms(day.usual_step_ms)
    long = np.flatnonzero(steps > most)
    longest = int(steps.max(initial=0))
    after = int(steps.argmax()) if len(steps) else None
    span = "" if after is None else f" ({_hour(int(times[after]))} to {_hour(int(times[after + 1]))})"
    worst = long[np.argsort(-steps[long])][:5]
    return Verdict(
        not len(long),
        f"the longest gap is {longest / 1000:g} s{span}, usual are {day.usual_step_ms / 1000:g} s; "
        f"{len(long):,} are longer than {most / 1000:g} s",
        {
            "longest_gap_seconds": longest / 1000,
            "usual_step_seconds": day.usual_step_ms / 1000,
            "long_gaps": len(long),
            "seconds_in_long_gaps": int(steps[long].sum()) / 1000,
        },
        markdown(("after", "seconds"), [(clock(int(times[at])), steps[at] / 1000) for at in worst]),
        _strip(subject, day) if len(long) else "",
    )


def gap_limit_ms(usual_step_ms: float) -> float:
    """Return how long a gap may be where so much time is usual between two snapshots."""
    return max(GAP_MS, GAP_STEPS * usual_step_ms)


def cadence(subject: Subject, day: Day) -> Verdict:
    """There are about as many snapshots per hour of the session as on the feed's last days."""
    opened, closed = session_bounds_ms(subject.partition.date)
    own = int(((day.times >= opened) & (day.times <= closed + EDGE_MS)).sum()) / _hours(opened, closed)
    recent = _recent_rates(subject.settings, subject.partition)
    known = f"{own:,.0f} snapshots per hour"
    if len(recent) < DAYS_NEEDED:
        return Verdict(
            True, f"{known}; too few days before it to compare with", {"per_hour": own, "days_compared": len(recent)}
        )
    usual = median(recent.values())
    ratio = own / usual if usual else 1.0
    passed = FEWEST <= ratio <= MOST
    return Verdict(
        passed,
        f"{known}, {ratio:.2f} times as many as on the last {len(recent)} days ({FEWEST:g} to {MOST:g} may be)",
        {"per_hour": own, "usual_per_hour": usual, "ratio": ratio, "days_compared": len(recent)},
        markdown(("day", "snapshots per hour"), [(date, f"{rate:,.0f}") for date, rate in recent.items()]),
        "" if passed else _strip(subject, day, usual),
    )


def _strip(subject: Subject, day: Day, usual_per_hour: float | None = None) -> str:
    """Return a picture of where in the session snapshots are missing."""
    opened, closed = session_bounds_ms(subject.partition.date)
    inside = day.times[(day.times >= opened) & (day.times <= closed)]
    ends = np.concatenate([[opened], inside, [closed]])
    long = np.flatnonzero(np.diff(ends) > gap_limit_ms(day.usual_step_ms))
    missing = [(int(ends[at]), int(ends[at + 1])) for at in long]
    return drawn(
        partial(session_strip, inside, opened, closed, missing, usual_per_hour),
        f"the session of {subject.partition.feed.key} on {subject.partition.date}",
    )


def _recent_rates(settings: Settings, partition: Partition) -> dict[dt.date, float]:
    """Return the snapshots per hour of the session on the last published days before this one."""
    folder = partition.published(settings, "snapshots").parent
    names = sorted((path.name for path in folder.glob("[0-9]*.snapshots.parquet")), reverse=True)
    rates: dict[dt.date, float] = {}
    for name in names:
        date = dt.datetime.strptime(name[:8], "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone
        if date >= partition.date or not is_trading_day(date):
            continue
        opened, closed = session_bounds_ms(date)
        try:
            version = version_of(folder / name)
            rates[date] = session_rows(version, folder / name, opened, closed + EDGE_MS) / _hours(opened, closed)
        except (OSError, pa.ArrowException):
            continue  # that day's own checks say so
        if len(rates) == DAYS_COMPARED:
            break
    return rates


def _new_outside(subject: Subject, day: Day, opened_ms: int, closed_ms: int) -> list[tuple[Any, ...]]:
    """Return timestamp and spot of the snapshots outside the session that repeat neither neighbour."""
    if len(day.times) and day.times[0] >= opened_ms and day.times[-1] <= closed_ms:
        return []
    return ask(
        subject.connection,
        day,
        f"""SELECT timestamp, spot_price
        FROM (SELECT *, (spot_price, zero_gamma, sum_gex_vol, total_vol, total_oi) AS said FROM day)
        QUALIFY timestamp NOT BETWEEN {opened_ms:d} AND {closed_ms:d}
            AND said IS DISTINCT FROM lag(said) OVER (ORDER BY timestamp)
            AND said IS DISTINCT FROM lead(said) OVER (ORDER BY timestamp)
        ORDER BY timestamp""",
    )


def _hour(timestamp_ms: int) -> str:
    """Return the time of day of a moment, New York."""
    return f"{new_york_time(timestamp_ms):%H:%M:%S}"


def _hours(opened_ms: int, closed_ms: int) -> float:
    return (closed_ms - opened_ms) / 3_600_000
