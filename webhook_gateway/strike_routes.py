"""The strikes of one snapshot, from whatever holds them."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from gex_pipeline.errors import FieldProblem, GexError, RecordError
from webhook_gateway import openapi
from webhook_gateway.asked import cannot_answer, captured_of, newest_of, read_feed, read_moment
from webhook_gateway.bodies import describe, problem
from webhook_gateway.formats import Written, chosen_format
from webhook_gateway.state import gateway_of

if TYPE_CHECKING:
    from gex_pipeline.queries.answer import Answer
    from gex_pipeline.queries.reading import SnapshotReader

ANY_TIME_MS = 4_102_444_799_999

router = APIRouter(tags=["read"])


@router.get("/gex/strikes", response_class=Response, responses=openapi.strikes_answers())
async def show_strikes(
    request: Request,
    feed: Annotated[str | None, Query(description="or ticker and endpoint", examples=["NQ_NDX:gex_zero"])] = None,
    ticker: Annotated[str | None, Query(examples=["NQ_NDX"])] = None,
    endpoint: Annotated[str | None, Query(description="gex_zero when there is only a ticker")] = None,
    timestamp: Annotated[str | None, Query(description=f"of the snapshot: {openapi.MOMENT}")] = None,
    at: Annotated[str | None, Query(description=f"of the snapshot, or after it: {openapi.MOMENT}")] = None,
) -> Response:
    """Show the ladder of one snapshot by strike: that of a `timestamp`, the last one `at` a time, or the newest.

    `priors` are the gamma by volume 1, 5, 10, 15 and 30 minutes before. `X-Gex-Timestamp` is the snapshot's time, and
    the other headers are those of `GET /gex`. A snapshot without strikes is an empty list.
    """
    media_type = chosen_format(request)
    try:
        wanted = read_feed(feed, ticker, endpoint)
        if timestamp is not None and at is not None:
            raise RecordError.of("at", at, "timestamp or at, not both")
        exact_ms = None if timestamp is None else read_moment("timestamp", timestamp)
        at_ms = ANY_TIME_MS if at is None else read_moment("at", at)
    except RecordError as error:
        raise HTTPException(400, describe(error.problems)) from error
    gateway = gateway_of(request)
    held = newest_of(gateway, wanted)

    def read(reader: "SnapshotReader") -> "tuple[Answer, Written]":
        from gex_pipeline.formats.columns import STRIKES_SCHEMA  # noqa: PLC0415
        from gex_pipeline.queries.rows import as_asked  # noqa: PLC0415

        answer = reader.read_ladder(wanted, at_ms if exact_ms is None else exact_ms, captured_of(held))
        answer.rows = as_asked(answer.rows, wanted, STRIKES_SCHEMA.names)
        return answer, Written(answer, media_type)

    try:
        answer, written = await gateway.queries.run(read)
    except GexError as error:
        raise cannot_answer(gateway, wanted, error) from error
    found_ms = answer.timestamp_ms
    if found_ms is None or exact_ms not in {None, found_ms}:
        asked = "any" if timestamp is None and at is None else str(timestamp or at)
        before = "there is none before it" if found_ms is None else f"the last one before it is {found_ms}"
        if answer.lack:
            lack = FieldProblem("", "", f"a database that can be read: {answer.lack}")
            raise problem(503, lack, headers={"Retry-After": "2"})
        name = "at" if timestamp is None else "timestamp"
        raise problem(404, FieldProblem(name, asked[:80], f"the time of a snapshot; {before}"))
    return written.response(gateway.queries)
