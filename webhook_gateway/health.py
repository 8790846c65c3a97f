"""Liveness and readiness: two questions, two routes."""

import shutil
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gex_pipeline.clock import epoch_ms
from gex_pipeline.journal import list_segments, segment_path
from gex_pipeline.loader.status import LoaderStatus, read_status
from gex_pipeline.poller.status import read_status as read_poller_status
from webhook_gateway.bodies import json_response
from webhook_gateway.child_process import ChildProcess
from webhook_gateway.state import Gateway, gateway_of

STALE_AFTER_MS = 30_000
BACKLOG_LIMIT_BYTES = 256 * 1024**2
DISK_LOW_BYTES = 1024**3

router = APIRouter(tags=["health"])


@router.get("/health")
async def health() -> Response:
    """Answer that the process is alive."""
    return json_response({"status": "ok"})


@router.get("/ready", responses={503: {"description": "captures are refused, or would be soon"}})
async def ready(request: Request) -> Response:
    """Tell whether captures are taken and loaded: journal writable, backlog, loader alive, room on the disk.

    200 `ready`, 200 `degraded` while captures are safe but are not being loaded, 503 `unavailable` when they are
    refused or the disk is nearly full.
    """
    gateway = gateway_of(request)
    checks = _checks(gateway)
    can_capture = checks["journal"]["ok"] and checks["disk"]["ok"]
    is_loading = checks["loader"]["ok"] and checks["backlog"]["ok"]
    status = "unavailable" if not can_capture else "ready" if is_loading else "degraded"
    if gateway.poller is not None:
        checks["poller"] = _poller(gateway, gateway.poller)
    return json_response({"status": status, "checks": checks}, 200 if can_capture else 503)


def _checks(gateway: Gateway) -> dict[str, dict[str, Any]]:
    now_ms = epoch_ms()
    loader = read_status(gateway.settings.journal_dir)
    backlog_bytes, oldest_ms = _backlog(gateway, loader)
    free_bytes = shutil.disk_usage(gateway.settings.journal_dir).free
    is_fresh = loader is not None and now_ms - loader.at_ms < STALE_AFTER_MS
    return {
        "journal": {
            "ok": gateway.journal.last_error is None,
            "error": gateway.journal.last_error,
            "segment": gateway.journal.segment,
        },
        "loader": {
            "ok": gateway.loader.process_id is not None and is_fresh and loader is not None and loader.error is None,
            "process": gateway.loader.process_id,
            "restarts": gateway.loader.restarts,
            "error": loader.error if loader else None,
        },
        "backlog": {
            "ok": backlog_bytes < BACKLOG_LIMIT_BYTES,
            "bytes": backlog_bytes,
            "age_seconds": round((now_ms - oldest_ms) / 1000, 1) if oldest_ms else 0.0,
        },
        "disk": {"ok": free_bytes > DISK_LOW_BYTES, "free_bytes": free_bytes},
    }


def _poller(gateway: Gateway, process: ChildProcess) -> dict[str, Any]:
    """Say how the polled feeds are. Captures by webhook do not need them, so they degrade nothing."""
    told = read_poller_status(gateway.settings.journal_dir)
    is_fresh = told is not None and epoch_ms() - told.at_ms < STALE_AFTER_MS
    feeds = told.feeds if told is not None else {}
    return {
        "ok": process.process_id is not None and is_fresh and not any(feed.error for feed in feeds.values()),
        "process": process.process_id,
        "restarts": process.restarts,
        "feeds": feeds,
    }


def _backlog(gateway: Gateway, loader: LoaderStatus | None) -> tuple[int, int | None]:
    """Return the bytes that are not loaded yet, and since when the oldest wait (epoch ms; None: none).

    The age is counted from when the loader last was up to date, so it is never shorter than the true one.
    """
    journal_dir = gateway.settings.journal_dir
    segment = loader.segment if loader and loader.segment is not None else 0
    offset = loader.byte_offset if loader and loader.byte_offset is not None else 0
    waiting = 0
    oldest_ms: int | None = None
    for each in list_segments(journal_dir):
        if each < segment:
            continue
        try:
            stat = segment_path(journal_dir, each).stat()
        except FileNotFoundError:
            continue
        behind = stat.st_size - (offset if each == segment else 0)
        if behind > 0:
            waiting += behind
            if oldest_ms is None:
                oldest_ms = loader.current_ms if loader and loader.current_ms else int(stat.st_mtime * 1000)
    return waiting, oldest_ms
