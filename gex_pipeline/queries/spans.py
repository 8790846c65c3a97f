"""Stretches of time, and New York days in them. Moments are epoch milliseconds, UTC."""

import datetime as dt
from collections.abc import Iterable
from typing import NamedTuple

from gex_pipeline.trading_days import day_bounds_ms, new_york_time

# No snapshot is accepted from then on.
END_MS = 4_102_444_800_000


class Span(NamedTuple):
    """A stretch of time; `end_ms` is not in it."""

    start_ms: int
    end_ms: int

    @property
    def is_empty(self) -> bool:
        """Whether no moment is in it."""
        return self.start_ms >= self.end_ms

    def overlap(self, other: "Span") -> "Span":
        """Return what is in both, empty when nothing is."""
        return Span(max(self.start_ms, other.start_ms), min(self.end_ms, other.end_ms))

    def split(self, at_ms: int) -> tuple["Span", "Span"]:
        """Return what comes before a moment and what comes from then on."""
        return Span(self.start_ms, min(self.end_ms, at_ms)), Span(max(self.start_ms, at_ms), self.end_ms)

    def without(self, others: Iterable["Span"]) -> list["Span"]:
        """Return what is left between others, which are in order and do not overlap."""
        left, start_ms = [], self.start_ms
        for other in others:
            left.append(Span(start_ms, min(other.start_ms, self.end_ms)))
            start_ms = max(start_ms, other.end_ms)
        return [each for each in (*left, Span(start_ms, self.end_ms)) if not each.is_empty]


def day_span(date: dt.date) -> Span:
    """Return a New York calendar day."""
    first_ms, last_ms = day_bounds_ms(date)
    return Span(first_ms, last_ms + 1)


def day_of(timestamp_ms: int) -> dt.date:
    """Return the New York day of a moment."""
    return new_york_time(timestamp_ms).date()
