"""The three routes that take data in: check, append to the journal, answer."""

from contextlib import suppress

import msgspec
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import JournalUnavailableError, RecordError
from gex_pipeline.feeds import request_id
from gex_pipeline.formats.plain_snapshot import check_snapshot
from gex_pipeline.formats.unusual_whales import parse_message, snapshot_payload
from gex_pipeline.journal import Kind, encode_record
from webhook_gateway import openapi
from webhook_gateway.announcements import read_announcement
from webhook_gateway.bodies import describe, json_response, read_body
from webhook_gateway.latest import Held
from webhook_gateway.state import Gateway, gateway_of

RETRY_AFTER_SECONDS = "5"

router = APIRouter(tags=["capture"])


@router.post("/gex", status_code=202, openapi_extra=openapi.SNAPSHOT_BODY, responses=openapi.capture_answers(202))
async def capture_snapshot(request: Request) -> Response:
    """Take one GexBot snapshot. The answer means that it is on the disk."""
    gateway = gateway_of(request)
    gateway.rate_limits.check(request)
    body = await read_body(request)
    try:
        feed, timestamp_ms = check_snapshot(body)
    except RecordError as error:
        raise _refused(error) from error
    received_at_ms = await _keep(gateway, "gex", body)
    gateway.latest.offer(feed, Held(timestamp_ms, received_at_ms, "live", body))
    return json_response({"status": "ok", "ticker": feed.ticker}, 202)


@router.post("/uw", openapi_extra=openapi.MESSAGE_BODY, responses=openapi.capture_answers(200))
async def capture_message(request: Request) -> Response:
    """Take one Unusual Whales message, in any of its three frames. Control messages are acknowledged, not stored."""
    gateway = gateway_of(request)
    gateway.rate_limits.check(request)
    body = await read_body(request)
    try:
        message = parse_message(body)
    except RecordError as error:
        raise _refused(error) from error
    if message.is_control:
        return json_response({"status": "received", "message": "control message, nothing to store"})
    received_at_ms = await _keep(gateway, "uw", body)
    with suppress(RecordError):  # the message is kept whatever it carries
        if (snapshot := snapshot_payload(message)) is not None:
            feed, timestamp_ms = check_snapshot(snapshot)
            gateway.latest.offer(feed, Held(timestamp_ms, received_at_ms, "uw", snapshot))
    return json_response({"status": "received", "message": f"stored for {message.topic}"})


@router.post(
    "/gex_history_url",
    status_code=202,
    openapi_extra=openapi.ANNOUNCEMENT_BODY,
    responses=openapi.announcement_answers(),
)
async def announce_history(request: Request) -> Response:
    """Queue a history file for import. Announcing it again refreshes its URL; ask the queue what became of it."""
    gateway = gateway_of(request)
    gateway.rate_limits.check(request)
    body = await read_body(request)
    settings = gateway.settings
    try:
        announced = read_announcement(body, settings.history_hosts)
    except RecordError as error:
        raise _refused(error) from error
    key = request_id(announced.feed, announced.date)
    known = {
        "id": key,
        "ticker": announced.feed.ticker,
        "endpoint": announced.feed.endpoint,
        "date": announced.date.isoformat(),
    }
    record = {**known, "url": announced.url, "metadata": announced.metadata}
    announced_at = await _keep(gateway, "gex_history_url", msgspec.json.encode(record))
    waiting = {"status": "pending", "attempts": 0, "last_error": None, "run_id": None}
    gateway.accepted[key] = {**known, **waiting, "announced_at": announced_at}
    where = {"duckdb_path": str(settings.database_path), "parquet_dir": str(settings.parquet_path)}
    return json_response({"status": "queued", **known, **where}, 202)


async def _keep(gateway: Gateway, kind: Kind, body: bytes) -> int:
    """Make a capture durable, or answer 503 so that the client sends it again; return when it came (epoch ms)."""
    received_at_ms = epoch_ms()
    try:
        await gateway.journal.append(encode_record(kind, received_at_ms, body))
    except JournalUnavailableError as error:
        raise HTTPException(
            503,
            [{"field": "", "value": "", "expected": f"a writable journal: {error}"}],
            {"Retry-After": RETRY_AFTER_SECONDS},
        ) from error
    return received_at_ms


def _refused(error: RecordError) -> HTTPException:
    return HTTPException(400, describe(error.problems))
