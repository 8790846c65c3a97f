"""How captures are: the gateway, what it took, its loader, the disk."""

import re
import shutil
from pathlib import Path
from typing import Any

import requests
import urllib3

from gex_pipeline.clock import epoch_ms
from gex_pipeline.journal import list_segments, segment_path
from gex_pipeline.loader.status import read_status
from gex_pipeline.settings import Settings
from gex_pipeline.status.parts import Part, State, ago

ANSWER_SECONDS = 5.0
RECENT_MS = 60_000
_CAPTURE = re.compile(rb'^\{"received_at":(\d+),"kind":"(\w+)"', re.MULTILINE)


def capturing(settings: Settings) -> list[Part]:
    """Ask the gateway how it is, and look into the journal."""
    ready = _ready(settings)
    parts = [_gateway(settings, ready), _captures(settings, ready), _disk(settings)]
    return [*parts[:2], _loader(ready), parts[2]] if isinstance(ready, dict) else parts


def _ready(settings: Settings) -> dict[str, Any] | str:
    """Return what `/ready` says, or why nothing was answered."""
    session = requests.Session()
    session.trust_env = False
    session.verify = False  # our own gateway, whose certificate is made out to another name than its address
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    try:
        with session:
            answer: dict[str, Any] = session.get(f"{settings.gateway_address}/ready", timeout=ANSWER_SECONDS).json()
            return answer if "checks" in answer else "what answers there is no gateway"
    except requests.ConnectionError:
        return "nobody answers there"
    except (requests.RequestException, TypeError) as error:
        return f"it does not answer as a gateway does: {type(error).__name__}"


def _gateway(settings: Settings, ready: dict[str, Any] | str) -> Part:
    if isinstance(ready, str):
        return Part(
            "gateway", "down", [f"{settings.gateway_address}: {ready}; nothing is captured"], {"error": ready}
        )
    wrong = [f"{name}: {check['error']}" for name, check in ready["checks"].items() if check.get("error")]
    state: State = "ok" if ready["status"] == "ready" else "degraded"
    return Part("gateway", state, [f"{ready['status']} at {settings.gateway_address}", *wrong], ready)


def _captures(settings: Settings, ready: dict[str, Any] | str) -> Part:
    now_ms = epoch_ms()
    received = _received(settings.journal_dir)
    recent = sum(now_ms - each <= RECENT_MS for each in received)
    figures: dict[str, Any] = {"last_minute": recent, "last_ms": max(received, default=None)}
    last = f"the last {ago((now_ms - max(received)) / 1000)} ago" if received else "none in the journal"
    lines = [f"{recent:,} in the last minute, {last}"]
    if isinstance(ready, dict):
        backlog = ready["checks"]["backlog"]
        figures["backlog_bytes"] = backlog["bytes"]
        age = f", the oldest for {ago(backlog['age_seconds'])}" if backlog["bytes"] else ""
        lines.append(f"{backlog['bytes']:,} bytes wait to be loaded{age}")
    else:
        figures["backlog_bytes"] = waiting = _waiting_bytes(settings.journal_dir)
        lines.append(f"{waiting:,} bytes wait to be loaded")
    return Part("captures", "ok", lines, figures)


def _received(journal_dir: Path) -> list[int]:
    """Return when what is in the last two segments was received, epoch ms UTC."""
    received = []
    for segment in list_segments(journal_dir)[-2:]:
        try:
            content = segment_path(journal_dir, segment).read_bytes()
        except OSError:
            continue
        received += [int(found[1]) for found in _CAPTURE.finditer(content)]
    return received


def _waiting_bytes(journal_dir: Path) -> int:
    """Return how much of the journal the loader had not loaded when it was last heard of."""
    loader = read_status(journal_dir)
    position = (loader.segment or 0, loader.byte_offset or 0) if loader else (0, 0)
    sizes = {each: segment_path(journal_dir, each).stat().st_size for each in list_segments(journal_dir)}
    waiting = sum(size for segment, size in sizes.items() if segment >= position[0])
    return waiting - (position[1] if position[0] in sizes else 0)


def _loader(ready: dict[str, Any]) -> Part:
    check = ready["checks"]["loader"]
    lines = [f"process {check['process']}, started again {check['restarts']} times"]
    return Part("loader", "ok" if check["ok"] else "degraded", [check["error"]] if check["error"] else lines, check)


def _disk(settings: Settings) -> Part:
    folder = settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    is_low = free_bytes < settings.disk_low_gb * 1e9
    return Part(
        "disk",
        "degraded" if is_low else "ok",
        [f"{free_bytes / 1e9:,.1f} GB are free for {settings.data_dir}"],
        {"free_bytes": free_bytes},
    )
