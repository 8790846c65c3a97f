"""What the gateway counts while it works; `metrics.py` adds what is only looked at when somebody asks.

A request costs two increments, each a lock and an addition in this process: nothing is written, nothing waits.
"""

import time
from collections.abc import Awaitable
from typing import get_args

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gex_pipeline.journal import Kind

REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SYNC_BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
OTHER = "other"
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST"})

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

_REQUESTS = Counter("gex_requests_total", "Answered requests.", ["method", "route", "status"], registry=REGISTRY)
_REQUEST_SECONDS = Histogram(
    "gex_request_seconds",
    "From a request's head to the first byte of its answer.",
    ["method", "route"],
    buckets=REQUEST_BUCKETS,
    registry=REGISTRY,
)
_CAPTURES = Counter("gex_captures_total", "Captures that are on the disk.", ["kind"], registry=REGISTRY)
CAPTURES = {kind: _CAPTURES.labels(kind) for kind in get_args(Kind)}
CONNECTIONS = Gauge("gex_connections", "Open connections of clients.", registry=REGISTRY)
SYNC_SECONDS = Histogram(
    "gex_journal_sync_seconds", "What one fsync of the journal took.", buckets=SYNC_BUCKETS, registry=REGISTRY
)
JOURNAL_BYTES = Counter("gex_journal_bytes_total", "Bytes made durable in the journal.", registry=REGISTRY)

# Looking a child up by its labels costs more than counting.
_children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}


def counted(front: ASGIApp, app: FastAPI) -> ASGIApp:
    """Wrap what answers requests so that each is counted once, by its method, route and status.

    Args:
        front: what answers.
        app: whose routes are told apart; everything else is `other`, so that nobody can invent labels.
    """
    paths = frozenset(app.openapi()["paths"])

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await front(scope, receive, send)
            return
        began = time.perf_counter()
        answered = False

        def noting(message: Message) -> Awaitable[None]:
            nonlocal answered
            if not answered:
                answered = True
                _count(scope, paths, message["status"], time.perf_counter() - began)
            return send(message)

        try:
            await front(scope, receive, noting)
        except Exception:
            if not answered:  # the server answers for us
                _count(scope, paths, 500, time.perf_counter() - began)
            raise

    return counting


def _count(scope: Scope, paths: frozenset[str], status: int, seconds: float) -> None:
    path = scope["path"]
    if path not in paths:
        path = getattr(scope.get("route"), "path", OTHER)
    method = scope["method"] if scope["method"] in _METHODS else OTHER
    key = (method, path, status)
    children = _children.get(key)
    if children is None:
        children = _REQUESTS.labels(method, path, str(status)), _REQUEST_SECONDS.labels(method, path)
        _children[key] = children
    requests, latency = children
    requests.inc()
    latency.observe(seconds)
