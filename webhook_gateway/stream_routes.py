"""New snapshots as they come: server-sent events."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from gex_pipeline.errors import FieldProblem, RecordError
from gex_pipeline.feeds import Feed
from webhook_gateway import openapi
from webhook_gateway.bodies import describe, problem
from webhook_gateway.latest import Held
from webhook_gateway.showing import show_snapshot
from webhook_gateway.state import Gateway, gateway_of
from webhook_gateway.streams import MAX_LISTENERS, Listener

HEARTBEAT_SECONDS = 15.0
# Snapshots of many feeds go out together, so that a listener to all of them costs some writes a second.
PAUSE_SECONDS = 0.05

router = APIRouter(tags=["read"])


@router.get("/gex/stream", response_class=Response, responses=openapi.stream_answers())
async def stream_snapshots(
    request: Request,
    feed: Annotated[list[str] | None, Query(examples=[["NQ_NDX:gex_zero"]])] = None,
) -> Response:
    """Send the newest snapshot of each feed, or of those named, and from then on every newer one as it comes.

    Each is an event `snapshot` whose data is an entry of `GET /gex/latest` and whose id is its timestamp. Who reads
    too slowly misses snapshots, never the newest. A feed may be one that was not captured yet.
    """
    try:
        feeds = [Feed.parse(each) for each in feed or []]
    except RecordError as error:
        raise HTTPException(400, describe(error.problems)) from error
    gateway = gateway_of(request)
    if gateway.streams.is_closed or gateway.streams.is_full:
        expected = f"a place among the {MAX_LISTENERS} streams at a time"
        raise problem(503, FieldProblem("", "one stream more", expected), headers={"Retry-After": "5"})
    return EventStream(gateway, feeds)


class EventStream(Response):
    """An answer that goes on until the client goes or the gateway ends."""

    media_type = "text/event-stream"

    def __init__(self, gateway: Gateway, feeds: list[Feed]) -> None:
        """Answer with events of these feeds, of all when there are none."""
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._gateway = gateway
        self._feeds = feeds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the base class's
        """Send until one side ends it."""
        with self._gateway.streams.joined(self._feeds) as listener:
            for feed, held in self._gateway.latest.find(None, None):
                listener.offer(feed, held)
            sides = [asyncio.create_task(self._send(send, listener)), asyncio.create_task(_left(receive))]
            try:
                await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for side in sides:
                    side.cancel()
        for ended in await asyncio.gather(*sides, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    async def _send(self, send: Send, listener: Listener) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b"\n", "more_body": True})
        while not self._gateway.streams.is_closed:
            taken = await listener.take(HEARTBEAT_SECONDS)
            events = [] if taken else [b": still here\n\n"]
            for feed, held in taken.items():
                events.append(_event(feed, held))
                await asyncio.sleep(0)  # captures go first
            await send({"type": "http.response.body", "body": b"".join(events), "more_body": True})
            await asyncio.sleep(PAUSE_SECONDS)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _event(feed: Feed, held: Held) -> bytes:
    """Return an event; JSON that was sent over several lines stays on as many."""
    data = b"\ndata: ".join(show_snapshot(feed, held).splitlines())
    return b"event: snapshot\nid: %d\ndata: %b\n\n" % (held.timestamp_ms, data)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
