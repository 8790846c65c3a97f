"""What reading routes are asked, and what they say when there is no answer."""

from typing import TYPE_CHECKING

from fastapi import HTTPException

from gex_pipeline.errors import FieldProblem, GexError, RecordError
from gex_pipeline.feeds import Feed, normalise_endpoint, normalise_ticker
from gex_pipeline.formats.gexbot import parse_timestamp
from webhook_gateway.bodies import problem
from webhook_gateway.latest import Held
from webhook_gateway.state import Gateway

if TYPE_CHECKING:
    from gex_pipeline.queries.answer import Captured


def read_feed(feed: str | None, ticker: str | None, endpoint: str | None) -> Feed:
    """Read which feed is asked for.

    Raises:
        RecordError: none is named, or twice, or it is no name.
    """
    if feed is not None and ticker is None and endpoint is None:
        return Feed.parse(feed)
    if feed is not None or ticker is None:
        given = "nothing" if feed is None else "feed and ticker or endpoint"
        raise RecordError.of("feed", given, "feed=NQ_NDX:gex_zero, or ticker=NQ_NDX and endpoint=gex_zero")
    return Feed(normalise_ticker(ticker), normalise_endpoint(endpoint))


def newest_of(gateway: Gateway, feed: Feed) -> Held | None:
    """Return a feed's newest snapshot as it was posted, None when none was lately."""
    return next((held for _, held in gateway.latest.find(feed.ticker, feed.endpoint)), None)


def captured_of(held: Held | None) -> "Captured | None":
    """Return it as those who read want it. Not for the thread of captures: Arrow is loaded here."""
    from gex_pipeline.queries.answer import Captured  # noqa: PLC0415

    return None if held is None else Captured(held.timestamp_ms, held.source, held.body)


def read_moment(field: str, text: str) -> int:
    """Read epoch seconds, epoch milliseconds or ISO 8601 (UTC when it names no zone) as epoch milliseconds.

    Raises:
        RecordError: none of these, or outside 2000-2100; it names the field.
    """
    try:
        return parse_timestamp(text)
    except RecordError as error:
        [found] = error.problems
        raise RecordError.of(field, text, f"{found.expected}; in a URL + is written %2B") from error


def cannot_answer(gateway: Gateway, feed: Feed, error: GexError) -> HTTPException:
    """Return the answer for a feed that is not known, or a database that cannot be asked for now."""
    from gex_pipeline.queries.answer import UnknownFeedError  # noqa: PLC0415

    if isinstance(error, UnknownFeedError):
        known = sorted(error.known | {known for known, _ in gateway.latest.find(None, None)})
        names = ", ".join(each.key for each in known[:20])
        return problem(404, FieldProblem("feed", feed.key, f"a feed that was recorded: {names or 'there is none'}"))
    return problem(503, FieldProblem("", "", str(error)), headers={"Retry-After": "2"})
