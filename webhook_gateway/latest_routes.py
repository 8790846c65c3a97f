"""The newest snapshot of each feed: in one shape, whatever shape it came in."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from gex_pipeline.errors import FieldProblem, RecordError
from gex_pipeline.feeds import normalise_endpoint, normalise_ticker
from webhook_gateway import openapi
from webhook_gateway.bodies import describe, problem
from webhook_gateway.showing import show_snapshot
from webhook_gateway.state import gateway_of

router = APIRouter(tags=["read"])


@router.get("/gex/latest", responses=openapi.latest_answers())
async def show_latest(
    request: Request,
    ticker: Annotated[str | None, Query(examples=["NQ_NDX"])] = None,
    endpoint: Annotated[str | None, Query(examples=["gex_zero"])] = None,
) -> Response:
    """Show the newest snapshot of each feed, by its own time; from memory, so nothing is waited for.

    A feed is known from its first capture on; after a start, from the journal's newest segments.
    """
    try:
        wanted = (
            None if ticker is None else normalise_ticker(ticker),
            None if endpoint is None else normalise_endpoint(endpoint),
        )
    except RecordError as error:
        raise HTTPException(400, describe(error.problems)) from error
    latest = gateway_of(request).latest
    found = latest.find(*wanted)
    if not found and wanted != (None, None):
        known = ", ".join(feed.key for feed, _ in latest.find(None, None)[:20])
        asked = ":".join(name or "*" for name in wanted)
        raise problem(404, FieldProblem("feed", asked, f"a feed captured lately: {known or 'there is none'}"))
    shown = []
    for feed, held in found:
        if held.shown is None:
            await asyncio.sleep(0)  # captures go first
        shown.append(show_snapshot(feed, held))
    return Response(b"[" + b",".join(shown) + b"]", media_type="application/json")


async def answer_latest(request: Request) -> Response:
    """Show the newest snapshots to a request that came past the framework."""
    return await show_latest(request, request.query_params.get("ticker"), request.query_params.get("endpoint"))
