"""The newest snapshot of each feed: in one shape, whatever shape it came in."""

import asyncio
from itertools import pairwise
from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from gex_pipeline.errors import FieldProblem, RecordError
from gex_pipeline.feeds import Feed, normalise_endpoint, normalise_ticker
from gex_pipeline.formats.gexbot import NUMBER_COLUMNS, WHOLE_COLUMNS, Strikes, parse_snapshot
from webhook_gateway import openapi
from webhook_gateway.bodies import describe, problem
from webhook_gateway.latest import Held
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
    for feed, held in found:
        if held.shown is None:
            held.shown = msgspec.json.encode(_show(feed, held))
            await asyncio.sleep(0)  # captures go first
    return Response(b"[" + b",".join(held.shown or b"" for _, held in found) + b"]", media_type="application/json")


def _show(feed: Feed, held: Held) -> dict[str, Any]:
    """Return a snapshot by the names of its columns."""
    snapshot = parse_snapshot(held.body)
    numbers = zip(NUMBER_COLUMNS, snapshot.numbers, strict=True)
    texts = {"max_priors": snapshot.max_priors, "max_change": snapshot.max_change, "extra": snapshot.extra}
    return {
        "ticker": feed.ticker,
        "endpoint": feed.endpoint,
        "timestamp": held.timestamp_ms,
        "received_at": held.received_at_ms,
        "source": held.source,
        **{name: int(value) if value is not None and name in WHOLE_COLUMNS else value for name, value in numbers},
        **{name: text and msgspec.Raw(text.encode()) for name, text in texts.items()},
        "strikes": _show_strikes(snapshot.strikes),
    }


def _show_strikes(strikes: Strikes) -> list[dict[str, Any]]:
    """Return a ladder strike by strike; what is absent is NaN, which JSON writes as null."""
    counts = strikes.prior_counts.tolist()
    ends = np.cumsum([0, *(max(count, 0) for count in counts)]).tolist()
    priors = strikes.priors.tolist()
    vannas = [None] * len(counts) if strikes.vanna is None else strikes.vanna.tolist()
    return [
        {
            "strike": strike,
            "gamma": gamma,
            "oi_gamma": oi_gamma,
            "vanna": vanna,
            "priors": None if count < 0 else priors[start:end],
        }
        for (strike, gamma, oi_gamma), vanna, count, (start, end) in zip(
            strikes.table.tolist(), vannas, counts, pairwise(ends), strict=True
        )
    ]
