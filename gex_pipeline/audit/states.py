"""The state of a day, decided from what is known of it."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Literal, get_args

from gex_pipeline.audit.figures import DayFigures
from gex_pipeline.history.fetch_plan import is_expiring
from gex_pipeline.history.gexbot_api import first_kept_day
from gex_pipeline.history.session_verdicts import DAYS_COMPARED, DAYS_NEEDED, EDGE_MS, FEWEST, gap_limit_ms
from gex_pipeline.trading_days import new_york_time, session_bounds_ms

State = Literal[
    "complete", "partial", "missing", "conflicting", "never_exported", "about_to_expire", "expired", "never_published"
]
STATES: tuple[State, ...] = get_args(State)


def decide(day: DayFigures, usual_per_hour: float | None, now_ms: int) -> tuple[State, str]:
    """Return the state of a day whose session is over, and why in one line.

    Args:
        day: what is known of it.
        usual_per_hour: snapshots per hour of the session on the feed's days before; None when that is not known.
        now_ms: epoch milliseconds UTC.
    """
    if day.published is None and (day.stored is None or day.stored.snapshots == 0):
        state = _missing_state(day, now_ms)
        return state, _why_missing(day, state, now_ms)
    lacks = list(_lacks(day, usual_per_hour))
    if conflicts := list(_conflicts(day)):
        return "conflicting", "; ".join((*conflicts, *lacks))
    if day.published is None:
        return "never_exported", "; ".join((f"not in Parquet: {_count(day)}", *lacks))
    if lacks:
        return "partial", "; ".join((*lacks, *_remedy(day, now_ms)))
    return "complete", _count(day)


def per_hour(day: DayFigures) -> float | None:
    """Return the snapshots per hour of the session; None when nobody knows, or there are none."""
    opens_ms, closes_ms = session_bounds_ms(day.partition.date)
    counted = day.stored.in_session if day.stored else day.parquet_snapshots
    return counted / (closes_ms - opens_ms) * 3_600_000 if counted else None


def usual_rate(rates_before: Sequence[float]) -> float | None:
    """Return what a feed's last days with snapshots make usual; None when they are too few.

    Args:
        rates_before: snapshots per hour of each, in the order of the days.
    """
    recent = rates_before[-DAYS_COMPARED:]
    return median(recent) if len(recent) >= DAYS_NEEDED else None


def _missing_state(day: DayFigures, now_ms: int) -> State:
    if day.is_absent and not day.has_file:
        return "never_published"
    if day.partition.date < first_kept_day(now_ms) and not day.has_file:
        return "expired"
    return "about_to_expire" if is_expiring(day.partition.date, now_ms) else "missing"


def _why_missing(day: DayFigures, state: State, now_ms: int) -> str:
    told = "nothing of this day is stored"
    if day.imported is not None and day.imported.outcome in {"refused", "failed"}:
        told = f"{told}; the last import was {day.imported.outcome}: {day.imported.errors}"
    elif day.has_file:
        told = f"{told}, its history file is in data/source"
    if state == "never_published":
        return f"{told}; GexBot has no such day"
    if state == "expired":
        return f"{told}; GexBot no longer keeps its file"
    return "; ".join((told, *_remedy(day, now_ms)))


def _remedy(day: DayFigures, now_ms: int) -> Iterator[str]:
    """Say how long GexBot keeps a file that was not imported."""
    imported = day.imported is not None and day.imported.hashes
    left = (day.partition.date - first_kept_day(now_ms)).days
    if not imported and left >= 0:
        yield f"GexBot keeps its file for {left} more days"


def _conflicts(day: DayFigures) -> Iterator[str]:
    """Yield what two places say differently."""
    if day.imported is not None and day.imported.differing:
        yield f"an imported file says otherwise about {day.imported.differing:,} snapshots, see data/conflicts"
    if day.stored is None and day.conflict_reports:
        yield "data/conflicts has a report of what a history file says otherwise"
    stored, published = day.stored, day.published
    if stored is None or published is None or published.snapshots is None:
        return
    if published.snapshots > stored.snapshots:
        yield f"{published.snapshots - stored.snapshots:,} snapshots are in Parquet and not in the database"
    times = (published.first_ms, published.last_ms)
    if published.snapshots == stored.snapshots and times not in {(None, None), (stored.first_ms, stored.last_ms)}:
        yield "Parquet and the database have other times of the first or the last snapshot"


def _lacks(day: DayFigures, usual_per_hour: float | None) -> Iterator[str]:
    """Yield what of the day is not there."""
    stored, published, imported = day.stored, day.published, day.imported
    if stored and imported and stored.snapshots < imported.snapshots:
        yield f"{imported.snapshots - stored.snapshots:,} imported snapshots are no longer in the database"
    if published and published.problem:
        yield published.problem
    elif published and published.strikes == 0:
        yield "there are no strikes"
    if stored and published and published.snapshots is not None and published.snapshots < stored.snapshots:
        yield f"{stored.snapshots - published.snapshots:,} snapshots are not in Parquet yet"
    yield from _out_of_session(day)
    rate = per_hour(day)
    if rate is not None and usual_per_hour is not None and rate < FEWEST * usual_per_hour:
        yield f"{rate:,.0f} snapshots per hour, {rate / usual_per_hour:.2f} times as many as usual"


def _out_of_session(day: DayFigures) -> Iterator[str]:
    """Yield where the session is not covered, as the checks `session` and `gaps` would."""
    opens_ms, closes_ms = session_bounds_ms(day.partition.date)
    stored = day.stored
    step_ms = (stored.usual_step_ms or 0.0) if stored else 0.0
    first_ms, last_ms = (stored.opened_ms, stored.closed_ms) if stored else day.bounds_ms
    if stored and first_ms is None:
        yield "nothing is of the session"
    if first_ms is not None and first_ms - opens_ms > EDGE_MS + step_ms:
        yield f"begins at {_clock(first_ms)}"
    if last_ms is not None and closes_ms - last_ms > EDGE_MS + step_ms:
        yield f"ends at {_clock(last_ms)}"
    gap_ms = (stored.longest_gap_ms or 0) if stored else 0
    if gap_ms > gap_limit_ms(step_ms):
        yield f"the longest gap is {gap_ms / 1000:,.0f} s"


def _count(day: DayFigures) -> str:
    """Say how many snapshots there are, from where, and from when to when."""
    sources = f" from {' and '.join(day.stored.sources)}" if day.stored else ""
    first_ms, last_ms = day.bounds_ms
    times = f", {_clock(first_ms)} to {_clock(last_ms)}" if first_ms is not None and last_ms is not None else ""
    return f"{day.snapshots:,} snapshots{sources}{times}"


def _clock(timestamp_ms: int) -> str:
    return f"{new_york_time(timestamp_ms):%H:%M:%S}"
