"""Snapshots of a feed in a stretch of time, from whatever holds them."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from gex_pipeline.errors import GexError, RecordError
from gex_pipeline.formats.gexbot import NUMBER_COLUMNS
from webhook_gateway import openapi
from webhook_gateway.asked import cannot_answer, captured_of, newest_of, read_feed, read_moment
from webhook_gateway.bodies import describe
from webhook_gateway.formats import JSON, WHOLE_ROWS, Written, chosen_format
from webhook_gateway.state import gateway_of

if TYPE_CHECKING:
    from gex_pipeline.queries.reading import SnapshotReader

DEFAULT_LIMIT, MAX_LIMIT = 5_000, 100_000
COLUMNS = ("timestamp", "ticker", "endpoint", *NUMBER_COLUMNS, "max_priors", "max_change", "extra", "source")

router = APIRouter(tags=["read"])


@router.get("/gex", response_class=Response, responses=openapi.snapshots_answers())
async def show_snapshots(
    request: Request,
    feed: Annotated[str | None, Query(description="or ticker and endpoint", examples=["NQ_NDX:gex_zero"])] = None,
    ticker: Annotated[str | None, Query(examples=["NQ_NDX"])] = None,
    endpoint: Annotated[str | None, Query(description="gex_zero when there is only a ticker")] = None,
    start: Annotated[str | None, Query(description=openapi.MOMENT, examples=["2025-11-14T09:30:00-05:00"])] = None,
    end: Annotated[str | None, Query(description=f"{openapi.MOMENT}; not in it", examples=["1763157600"])] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    columns: Annotated[str | None, Query(description="some of them, with commas", examples=["spot_price"])] = None,
) -> Response:
    """Show a feed's snapshots by time, those of the last day of which there is anything when no time is named.

    Published days come from their Parquet files, the rest from the database, `X-Gex-Source` says which. While the
    database cannot be asked, `X-Gex-Partial` says why and the answer has what there is without it. Where there are
    more rows than the limit, `X-Next-Start` is the `start` of the rest. Times are epoch milliseconds UTC.
    """
    media_type = chosen_format(request)
    try:
        wanted = read_feed(feed, ticker, endpoint)
        chosen = _read_columns(columns)
        start_ms, end_ms = _read_span(start, end)
    except RecordError as error:
        raise HTTPException(400, describe(error.problems)) from error
    gateway = gateway_of(request)
    held = newest_of(gateway, wanted)

    def read(reader: "SnapshotReader") -> Written:
        from gex_pipeline.queries.shapes import Shape  # noqa: PLC0415

        shape = Shape(wanted, chosen, is_json=media_type == JSON and limit <= WHOLE_ROWS)
        answer = reader.read(shape, start_ms, end_ms, limit, captured_of(held))
        return Written(answer, media_type, is_json=shape.is_json)

    try:
        written = await gateway.queries.run(read)
    except GexError as error:
        raise cannot_answer(gateway, wanted, error) from error
    return written.response(gateway.queries)


def _read_columns(text: str | None) -> tuple[str, ...]:
    if text is None:
        return COLUMNS
    wanted = {"timestamp", *(name.strip() for name in text.split(","))}
    if not wanted <= set(COLUMNS):
        raise RecordError.of("columns", ", ".join(sorted(wanted - set(COLUMNS))), f"some of {', '.join(COLUMNS)}")
    return tuple(name for name in COLUMNS if name in wanted)


def _read_span(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    start_ms = None if start is None else read_moment("start", start)
    end_ms = None if end is None else read_moment("end", end)
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise RecordError.of("end", end, f"a time after the start, {start}")
    return start_ms, end_ms
