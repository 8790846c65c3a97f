"""Liveness and readiness: two questions, two routes."""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gex_pipeline.clock import epoch_ms
from gex_pipeline.journal import JournalRecord, list_segments, read_lines, segment_path
from gex_pipeline.loader.status import LoaderStatus, read_status
from gex_pipeline.poller.status import read_status as read_poller_status
from webhook_gateway import openapi
from webhook_gateway.bodies import json_response
from webhook_gateway.child_process import ChildProcess
from webhook_gateway.state import Gateway, gateway_of

STALE_AFTER_SECONDS = 30.0
BACKLOG_LIMIT_BYTES = 256 * 1024**2
BACKLOG_LIMIT_SECONDS = 60.0
DISK_LOW_BYTES = 1024**3

router = APIRouter(tags=["health"])


@router.get("/health", responses=openapi.health_answers())
async def health() -> Response:
    """Answer that the process is alive."""
    return json_response({"status": "ok"})


@router.get("/ready", responses=openapi.ready_answers())
async def ready(request: Request) -> Response:
    """Tell whether captures are taken and loaded: journal writable, backlog, loader alive, room on the disk.

    200 `ready`, 200 `degraded` while captures are safe but are not being loaded, 503 `unavailable` when they are
    refused or the disk is nearly full. A check that is not `ok` says why in `error`.
    """
    gateway = gateway_of(request)
    checks = checks_of(gateway)
    can_capture = checks["journal"]["ok"] and checks["disk"]["ok"]
    is_loading = checks["loader"]["ok"] and checks["backlog"]["ok"]
    status = "unavailable" if not can_capture else "ready" if is_loading else "degraded"
    if gateway.poller is not None:
        checks["poller"] = _poller(gateway, gateway.poller)
    return json_response({"status": status, "checks": checks}, 200 if can_capture else 503)


def checks_of(gateway: Gateway) -> dict[str, dict[str, Any]]:
    """Return what `/ready` answers about journal, loader, backlog and disk."""
    loader = read_status(gateway.settings.journal_dir)
    reasons: dict[str, str | None] = {
        "journal": gateway.journal.last_error or _why_no_journal(gateway.settings.journal_dir),
        "loader": _why_not_loading(gateway, loader),
        "backlog": None,
        "disk": None,
    }
    backlog_bytes, age_seconds = _backlog(gateway, loader)
    if backlog_bytes >= BACKLOG_LIMIT_BYTES or age_seconds >= BACKLOG_LIMIT_SECONDS:
        reasons["backlog"] = f"{backlog_bytes:,} bytes wait to be loaded, the oldest for {age_seconds:g} s"
    free_bytes = _free_bytes(gateway.settings.journal_dir.absolute())
    if free_bytes <= DISK_LOW_BYTES:
        reasons["disk"] = f"{free_bytes:,} bytes are free, {DISK_LOW_BYTES:,} are wanted"
    figures: dict[str, dict[str, Any]] = {
        "journal": {"segment": gateway.journal.segment},
        "loader": {"process": gateway.loader.process_id, "restarts": gateway.loader.restarts},
        "backlog": {"bytes": backlog_bytes, "age_seconds": age_seconds},
        "disk": {"free_bytes": free_bytes},
    }
    return {name: {"ok": reason is None, "error": reason, **figures[name]} for name, reason in reasons.items()}


def _poller(gateway: Gateway, process: ChildProcess) -> dict[str, Any]:
    """Say how the polled feeds are. Captures by webhook do not need them, so they degrade nothing."""
    told = read_poller_status(gateway.settings.journal_dir)
    is_fresh = told is not None and epoch_ms() - told.at_ms < STALE_AFTER_SECONDS * 1000
    feeds = told.feeds if told is not None else {}
    return {
        "ok": process.process_id is not None and is_fresh and not any(feed.error for feed in feeds.values()),
        "process": process.process_id,
        "restarts": process.restarts,
        "feeds": feeds,
    }


def _why_no_journal(journal_dir: Path) -> str | None:
    if journal_dir.is_dir():
        return None
    return f"{journal_dir} is gone; the next capture makes it anew, what was not loaded of it is lost"


def _why_not_loading(gateway: Gateway, loader: LoaderStatus | None) -> str | None:
    """Return what keeps captures from being loaded, None when nothing does; the wall clock has no say in it."""
    if loader is None:
        return "no loader has reported yet"
    if loader.error is not None:
        return loader.error
    if not _is_running(loader.process):
        return gateway.loader.last_end or "no loader has reported yet"
    silent_seconds = time.monotonic() - loader.told_at
    if not 0 <= silent_seconds < STALE_AFTER_SECONDS:
        return f"the loader has not been heard of for {silent_seconds:.0f} s"
    return None


def _backlog(gateway: Gateway, loader: LoaderStatus | None) -> tuple[int, float]:
    """Return the bytes that are not loaded yet, and for how many seconds the oldest of them wait at most."""
    journal_dir = gateway.settings.journal_dir
    segment = loader.segment if loader and loader.segment is not None else 0
    offset = loader.byte_offset if loader and loader.byte_offset is not None else 0
    waiting_bytes = 0
    oldest: tuple[int, int] | None = None
    for each in list_segments(journal_dir):
        start = offset if each == segment else 0
        size_bytes = _size_bytes(segment_path(journal_dir, each)) if each >= segment else 0
        if size_bytes > start:
            waiting_bytes += size_bytes - start
            oldest = oldest or (each, start)
    return waiting_bytes, _age_seconds(journal_dir, oldest, loader) if oldest else 0.0


def _age_seconds(journal_dir: Path, oldest: tuple[int, int], loader: LoaderStatus | None) -> float:
    """Return for how long the oldest record waits: by its own time, and no longer than the loader is behind.

    Either may be of no use: a wall clock that was set, a loader that never was up to date.
    """
    ages = []
    if loader and loader.current_at is not None:
        ages.append(time.monotonic() - loader.current_at)
    segment, offset = oldest
    with suppress(OSError), segment_path(journal_dir, segment).open("rb") as file:
        file.seek(offset)
        first = next(read_lines(file, offset, is_closed=False), None)
        if isinstance(first, JournalRecord):
            ages.append((epoch_ms() - first.received_at_ms) / 1000)
    return round(min((age for age in ages if age >= 0), default=0.0), 1)


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
