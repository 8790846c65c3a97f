"""Which days of which feeds are stored, and in what state each is."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from gex_pipeline.errors import FieldProblem, RecordError
from gex_pipeline.feeds import Feed, parse_day
from webhook_gateway import openapi
from webhook_gateway.bodies import describe, json_response, problem
from webhook_gateway.coverage import CoverageUnknownError, Found
from webhook_gateway.state import gateway_of

DEFAULT_DAYS = 90

router = APIRouter(tags=["history"])


@router.get("/coverage", responses=openapi.coverage_answers())
async def show_coverage(
    request: Request,
    feed: Annotated[list[str] | None, Query(description="`TICKER:endpoint`; all feeds without it")] = None,
    start: Annotated[str | None, Query(description="90 days ago without it", examples=["2025-11-03"])] = None,
    end: Annotated[str | None, Query(description="the last day wanted", examples=["2025-11-14"])] = None,
) -> Response:
    """Show for each feed and trading day what is stored of it, by feed and date.

    An answer is that of the last look; one older than half a minute has a new look taken, for the next answer.
    `X-Gex-As-Of` is when it began. Days whose session is not over for half an hour are not listed yet.
    """
    try:
        feeds = {Feed.parse(each).key for each in feed or ()}
        today = dt.datetime.now(dt.UTC).date()
        first = today - dt.timedelta(days=DEFAULT_DAYS) if start is None else parse_day("start", start)
        last = dt.date.max if end is None else parse_day("end", end)
        if first > last:
            raise RecordError.of("end", end, f"no day before the start, {first}")
    except RecordError as error:
        raise HTTPException(400, describe(error.problems)) from error
    found = await _find(request)
    return _dated(found, found.days(feeds, first, last))


@router.get("/page/feeds", include_in_schema=False)
async def page_feeds(request: Request) -> Response:
    """Tell the page which feeds are stored: by feed, the time of its last snapshot, epoch milliseconds UTC."""
    found = await _find(request)
    return _dated(found, found.newest_ms)


async def _find(request: Request) -> Found:
    try:
        return await gateway_of(request).coverage.find()
    except CoverageUnknownError as error:
        raise problem(503, FieldProblem("", "", str(error)), headers={"Retry-After": "5"}) from error


def _dated(found: Found, content: object) -> Response:
    answer = json_response(content)
    answer.headers["X-Gex-As-Of"] = str(found.as_of_ms)
    return answer
