"""Where the snapshots of a feed come from: published days from Parquet, the rest from the database.

While the database is busy, missing or damaged, the answer has what there is without it and says so.
"""

import datetime as dt

import pyarrow as pa

from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import TransientError
from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition
from gex_pipeline.queries.answer import Answer, Captured, UnknownFeedError
from gex_pipeline.queries.asking import WAIT_SECONDS, ask
from gex_pipeline.queries.ladders import Ladders
from gex_pipeline.queries.past import Past
from gex_pipeline.queries.published import published_days, published_feeds, published_version, read_published
from gex_pipeline.queries.recent import Recent
from gex_pipeline.queries.rows import merged
from gex_pipeline.queries.shapes import Shape
from gex_pipeline.queries.spans import END_MS, Span, day_of, day_span
from gex_pipeline.queries.stored import newest_stored_ms, stored_feeds
from gex_pipeline.settings import Settings


class SnapshotReader:
    """Reads the snapshots of one data folder, for several threads at once."""

    def __init__(self, settings: Settings) -> None:
        """Hold nothing yet."""
        self._settings = settings
        self._past = Past(settings)
        self._recent = Recent(settings)
        self._ladders = Ladders(settings)

    def read(
        self,
        shape: Shape,
        start_ms: int | None,
        end_ms: int | None,
        limit: int,
        captured: Captured | None,
    ) -> Answer:
        """Return a feed's snapshots in a stretch of time, the first so many.

        Args:
            shape: of which feed, and what of them.
            start_ms: epoch ms UTC; None: where the New York day of the end begins.
            end_ms: epoch ms UTC, not in it; None: there is none. Neither: the last day of which there is anything.
            limit: at most so many rows.
            captured: the last one that was captured, for when the database cannot be asked; None: there is none.

        Raises:
            UnknownFeedError: nothing of the feed was recorded.
            TransientError: the database cannot be asked, and without it there is nothing to say.
        """
        answer = Answer(shape.empty())
        if start_ms is None:
            day = day_span(self._last_day(shape.feed, captured) if end_ms is None else day_of(end_ms - 1))
            start_ms, end_ms = day.start_ms, day.end_ms if end_ms is None else end_ms
        span = Span(start_ms, END_MS if end_ms is None else end_ms)
        today = day_of(epoch_ms())
        past, rest = span.split(day_span(today).start_ms)
        if not past.is_empty:
            self._past.read(shape, past, limit, answer)
        if answer.rows.num_rows <= limit and not rest.is_empty:
            self._add_today(shape, today, rest, limit, answer)
        if answer.lack and captured and span.start_ms <= captured.timestamp_ms < span.end_ms:
            answer.sources.add("memory")
            answer.rows = merged(answer.rows, shape.of(captured.row(shape.feed)))
        if not answer.rows.num_rows:
            self._require_known(shape.feed, captured, answer)
        answer.limit(limit)
        return answer

    def read_ladder(self, feed: Feed, at_ms: int, captured: Captured | None) -> Answer:
        """Return the strikes of a feed's snapshot at a moment (epoch ms UTC), or of the last one before it.

        Raises:
            UnknownFeedError: nothing of the feed was recorded.
            TransientError: the database cannot be asked, and without it there is nothing to say.
        """
        answer = self._ladders.read(feed, at_ms, captured)
        if answer.timestamp_ms is None:
            self._require_known(feed, captured, answer)
        return answer

    def _last_day(self, feed: Feed, captured: Captured | None) -> dt.date:
        """Return the last day of which there is anything, today when there is nothing."""
        days = published_days(self._settings, feed)[-1:]
        if captured is not None:
            days.append(day_of(captured.timestamp_ms))
        if not days:
            stored_ms, _ = ask(self._settings, WAIT_SECONDS, lambda connection: newest_stored_ms(connection, feed))
            days.append(day_of(stored_ms or epoch_ms()))
        return max(days)

    def _add_today(self, shape: Shape, today: dt.date, span: Span, limit: int, answer: Answer) -> None:
        """Add the first rows of today, one more than so many where there are more.

        What was published of it counts where the database has less, or cannot be asked.
        """
        held, lack = self._recent.read(shape.feed, Span(day_span(today).start_ms, END_MS))
        answer.lack = answer.lack or lack
        if held is not None:
            answer.sources.add("database")
            answer.rows = pa.concat_tables([answer.rows, held.cut(shape, span, limit + 1)])
        path = Partition(shape.feed, today).published(self._settings, "snapshots")
        version = published_version(path)
        if version is not None and version[1] > (0 if held is None else held.rows.num_rows):
            published = read_published(path, shape, span, limit + 1)
            if published is not None:
                answer.sources.add("parquet")
                answer.rows = merged(answer.rows, published)

    def _require_known(self, feed: Feed, captured: Captured | None, answer: Answer) -> None:
        """Refuse to answer with nothing when the feed is not known, or there may be something.

        Raises:
            UnknownFeedError: nothing of the feed was recorded.
            TransientError: the database cannot be asked.
        """
        known = published_feeds(self._settings)
        stored, lack = ask(self._settings, WAIT_SECONDS, stored_feeds)
        known |= stored or set()
        if feed in known or captured is not None:
            lack = answer.lack
        elif lack in {None, "database missing"}:
            raise UnknownFeedError(feed, known)
        if lack not in {None, "database missing"}:
            raise TransientError(f"a database that can be read: {lack}")
