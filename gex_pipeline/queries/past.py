"""Days that are over: published ones from Parquet, what is not published from the database.

A published day counts as whole while the database has as many rows of it, or none, which is looked at again after a
minute; of any other day the rows of both are put together.
"""

import time
from dataclasses import dataclass, field
from typing import NamedTuple

import duckdb
import pyarrow as pa

from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition
from gex_pipeline.queries.answer import Answer
from gex_pipeline.queries.asking import SHORT_WAIT_SECONDS, WAIT_SECONDS, ask
from gex_pipeline.queries.published import published_days, published_version, read_published
from gex_pipeline.queries.rows import merged
from gex_pipeline.queries.shapes import Shape
from gex_pipeline.queries.spans import Span, day_span
from gex_pipeline.queries.stored import count_days, read_stored
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import Version

CHECKED_SECONDS = 60.0


class Day(NamedTuple):
    """A published day: its file's version, and how many rows it has."""

    partition: Partition
    version: Version
    rows: int

    @property
    def span(self) -> Span:
        """All of the day."""
        return day_span(self.partition.date)


@dataclass
class Past:
    """Reads days that are over, and remembers which published ones are whole."""

    settings: Settings
    _whole: dict[Partition, tuple[Version, float]] = field(default_factory=dict)

    def read(self, shape: Shape, span: Span, limit: int, answer: Answer) -> None:
        """Add the first rows of a span to an answer, one more than so many where there are more."""
        span, days = self._needed(shape.feed, span, limit)
        days = self._read_published(shape, days, span, limit, answer)
        gaps = span.without(day.span for day in days)
        unsure = [day for day in days if not self._is_whole(day)]
        if not gaps and not unsure:
            answer.sources.add("database")  # it was asked within the last minute
            return

        def look(connection: duckdb.DuckDBPyConnection) -> tuple[list[Day], pa.Table]:
            behind = []
            if unsure:
                counts = count_days(connection, shape.feed, Span(unsure[0].span.start_ms, unsure[-1].span.end_ms))
                behind = [day for day in unsure if counts[day.partition.date] not in {0, day.rows}]
            wanted = span.without(day.span for day in days if day not in behind)
            return behind, read_stored(connection, "gex_snapshots", shape.stored, shape.feed, wanted, limit + 1)

        found, lack = ask(self.settings, WAIT_SECONDS if gaps else SHORT_WAIT_SECONDS, look)
        if found is not None:
            behind, rows = found
            now = time.monotonic()
            self._whole |= {day.partition: (day.version, now) for day in unsure if day not in behind}
            answer.sources.add("database")
            answer.rows = merged(shape.of(rows), answer.rows)
        elif gaps:
            answer.lack = lack

    def _needed(self, feed: Feed, span: Span, limit: int) -> tuple[Span, list[Day]]:
        """Return the published days of a span, and of the span what more rows than so many come from."""
        days, rows = [], 0
        for date in published_days(self.settings, feed):
            whole = day_span(date)
            if whole.overlap(span).is_empty:
                continue
            partition = Partition(feed, date)
            found = published_version(partition.published(self.settings, "snapshots"))
            if found is None:
                continue
            days.append(Day(partition, *found))
            rows += found[1] if whole.overlap(span) == whole else 0
            if rows > limit:
                return Span(span.start_ms, whole.end_ms), days
        return span, days

    def _read_published(self, shape: Shape, days: list[Day], span: Span, limit: int, answer: Answer) -> list[Day]:
        """Add the rows of published days and return the days that could be read."""
        read, tables, rows = [], [answer.rows], 0
        for day in days:
            if rows <= limit:
                path = day.partition.published(self.settings, "snapshots")
                found = read_published(path, shape, span, limit + 1 - rows)
                if found is None:
                    continue
                tables.append(found)
                rows += found.num_rows
            read.append(day)
        if read:
            answer.sources.add("parquet")
            answer.rows = pa.concat_tables(tables)
        return read

    def _is_whole(self, day: Day) -> bool:
        version, checked_at = self._whole.get(day.partition, (None, 0.0))
        return version == day.version and time.monotonic() - checked_at < CHECKED_SECONDS
