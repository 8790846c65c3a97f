"""The strikes of one snapshot: published days from Parquet, the rest from the database.

Parquet has no vanna, so a published day's ladders come from the database when it has any, which is looked at again
after a minute.
"""

import time
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from gex_pipeline.clock import epoch_ms
from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition
from gex_pipeline.queries.answer import STRIKE_COLUMNS, Answer, Captured
from gex_pipeline.queries.asking import SHORT_WAIT_SECONDS, WAIT_SECONDS, ask
from gex_pipeline.queries.past import CHECKED_SECONDS
from gex_pipeline.queries.published import (
    last_published_ms,
    published_days,
    published_version,
    read_published_ladder,
)
from gex_pipeline.queries.rows import empty_rows
from gex_pipeline.queries.spans import Span, day_of, day_span
from gex_pipeline.queries.stored import count_strikes, newest_stored_ms, read_stored
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import Version

# A feed's newest capture that is no older is its newest snapshot, whatever was imported.
LIVE_MS = 60_000


@dataclass
class Ladders:
    """Finds the ladder of the last snapshot up to a moment, and remembers of which days Parquet has all there is."""

    settings: Settings
    _whole: dict[Partition, tuple[Version, float]] = field(default_factory=dict)

    def read(self, feed: Feed, at_ms: int, captured: Captured | None) -> Answer:
        """Return the strikes of a feed's snapshot at a moment (epoch ms UTC), or of the last one before it."""
        answer = Answer(empty_rows(STRIKE_COLUMNS))
        live = captured if captured is not None and captured.timestamp_ms <= at_ms else None
        if live and (live.timestamp_ms == at_ms or epoch_ms() - live.timestamp_ms < LIVE_MS):
            _take_captured(live, feed, answer)
            return answer
        day, published_ms = self._last_published(feed, at_ms)
        is_over = day is not None and day.date == day_of(at_ms) < day_of(epoch_ms())
        if is_over and self._is_whole(day):
            answer.sources.add("database")  # it was asked within the last minute
        else:
            wait_seconds = SHORT_WAIT_SECONDS if is_over else WAIT_SECONDS
            found, lack = ask(self.settings, wait_seconds, lambda each: self._look(each, feed, at_ms, day))
            if found is not None:
                answer.sources.add("database")
                answer.timestamp_ms, answer.rows = found
            elif not is_over:
                answer.lack = lack
        if day is not None and published_ms > (answer.timestamp_ms or 0):
            rows = read_published_ladder(day.published(self.settings, "strikes"), published_ms)
            if rows is not None:
                answer.sources.add("parquet")
                answer.timestamp_ms, answer.rows = published_ms, rows
        if live and live.timestamp_ms > (answer.timestamp_ms or 0):  # the loader is about to bring it
            _take_captured(live, feed, answer)
        return answer

    def _last_published(self, feed: Feed, at_ms: int) -> tuple[Partition | None, int]:
        """Return the day and time of the last published snapshot up to a moment; None and 0 without any."""
        last = day_of(at_ms)
        for date in reversed(published_days(self.settings, feed)):
            partition = Partition(feed, date)
            if date <= last:
                found_ms = last_published_ms(self.settings, partition, at_ms)
                if found_ms is not None:
                    return partition, found_ms
        return None, 0

    def _look(
        self, connection: duckdb.DuckDBPyConnection, feed: Feed, at_ms: int, day: Partition | None
    ) -> tuple[int | None, pa.Table]:
        """Return the last stored snapshot's time and strikes, and note whether a published day has all of them."""
        if day is not None:
            self._note_whole(connection, day)
        timestamp_ms = newest_stored_ms(connection, feed, at_ms + 1)
        if timestamp_ms is None:
            return None, empty_rows(STRIKE_COLUMNS)
        moment = Span(timestamp_ms, timestamp_ms + 1)
        return timestamp_ms, read_stored(connection, "gex_strikes", STRIKE_COLUMNS, feed, [moment]).sort_by("strike")

    def _note_whole(self, connection: duckdb.DuckDBPyConnection, day: Partition) -> None:
        published = published_version(day.published(self.settings, "strikes"))
        rows, vannas = count_strikes(connection, day.feed, day_span(day.date))
        if published is not None and rows <= published[1] and not vannas:
            self._whole[day] = published[0], time.monotonic()

    def _is_whole(self, day: Partition | None) -> bool:
        if day is None or day not in self._whole:
            return False
        version, checked_at = self._whole[day]
        published = published_version(day.published(self.settings, "strikes"))
        is_same = published is not None and published[0] == version
        return is_same and time.monotonic() - checked_at < CHECKED_SECONDS


def _take_captured(captured: Captured, feed: Feed, answer: Answer) -> None:
    answer.sources.add("memory")
    answer.timestamp_ms, answer.rows = captured.timestamp_ms, captured.strikes(feed).sort_by("strike")
