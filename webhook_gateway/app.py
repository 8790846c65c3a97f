"""The gateway's application: routes, middleware, and what starts and stops with it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import SecretStr
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from gex_pipeline import __version__
from gex_pipeline.errors import FieldProblem
from gex_pipeline.settings import Settings
from webhook_gateway import (
    capture,
    coverage_routes,
    health,
    latest_routes,
    lineage_routes,
    metrics,
    page_routes,
    queue_routes,
    snapshot_routes,
    stream_routes,
    strike_routes,
)
from webhook_gateway.bodies import describe, has_key, json_response
from webhook_gateway.child_process import ChildProcess
from webhook_gateway.coverage import KnownCoverage
from webhook_gateway.formats import EXPOSED_HEADERS
from webhook_gateway.journal_writer import JournalWriter
from webhook_gateway.openapi import finish_document
from webhook_gateway.queries import Queries
from webhook_gateway.rate_limits import RateLimits
from webhook_gateway.session_times import SessionTimes
from webhook_gateway.state import Gateway, gateway_of
from webhook_gateway.streams import Streams

OPEN_PATHS = frozenset({"/health", "/ready"}) | page_routes.OPEN_PATHS

# In the order of the OpenAPI document.
ROUTES = (
    capture,
    latest_routes,
    snapshot_routes,
    strike_routes,
    stream_routes,
    queue_routes,
    lineage_routes,
    coverage_routes,
    health,
    metrics,
    page_routes,
)

logger = logging.getLogger(__name__)


def create_app(settings: Settings, *, with_loader: bool = True, url: str | None = None) -> FastAPI:
    """Build the application and take the journal; its lifespan gives it back and runs the child processes.

    Args:
        settings: which feeds are polled and whether operators are to be told, among much else.
        with_loader: run the loader.
        url: where this application will answer, for those that post to it and watch it; None: nobody does.

    Raises:
        PermanentError: another gateway already writes the same journal.
    """

    journal = JournalWriter(settings.journal_dir)
    loader = ChildProcess(settings, "loader")
    poller = ChildProcess(settings, "poller", "--gateway", url) if settings.poll_feeds and url else None
    alerts = ChildProcess(settings, "alerts", "--gateway", url) if settings.notify_urls and url else None
    streams = Streams()
    companions = [child for child in (poller, alerts) if child is not None]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        coverage, session_times = KnownCoverage(settings), SessionTimes(settings)
        gateway = app.state.gateway = Gateway(
            settings,
            journal,
            loader,
            poller,
            RateLimits(settings),
            Queries(settings),
            streams,
            coverage,
            session_times,
        )
        await asyncio.to_thread(gateway.latest.rebuild, settings.journal_dir)
        gateway.latest.on_newer = streams.offer
        if with_loader:
            loader.start()
        for child in companions:
            child.start()
        try:
            yield
        finally:
            gateway.queries.close()
            await asyncio.gather(coverage.stop(), session_times.stop(), *(child.stop() for child in companions))
            await journal.close()
            await loader.stop()

    app = FastAPI(
        title="GEX webhook gateway",
        version=__version__,
        summary="Takes GexBot snapshots, Unusual Whales messages and history file links; an answer is a promise.",
        lifespan=lifespan,
        # Their scripts would come from other hosts.
        docs_url=None,
        redoc_url=None,
    )
    app.state.streams = streams
    for module in ROUTES:
        app.include_router(module.router)
    app.openapi_schema = finish_document(app.openapi(), open_paths=OPEN_PATHS, needs_key=settings.api_key is not None)
    app.add_exception_handler(StarletteHTTPException, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    if settings.api_key is not None:
        app.add_middleware(_with_key, key=settings.api_key)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["content-type", "authorization", "x-api-key"],
        expose_headers=EXPOSED_HEADERS,
        allow_private_network=True,
    )
    return app


def captures_first(app: FastAPI) -> ASGIApp:
    """Wrap an application so that captures skip the framework's layers, which cost more than all their own work.

    So does the newest snapshot, which pages ask for every second. They reach the same functions with the same
    answers. A browser's request to another origin names its Origin and takes the long way.
    """
    direct = {("POST", route.path): route.endpoint for route in capture.router.routes if isinstance(route, APIRoute)}
    direct["GET", "/gex/latest"] = latest_routes.answer_latest

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = direct.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None or any(name == b"origin" for name, _ in scope["headers"]):
            await app(scope, receive, send)
            return
        scope["app"] = app
        request = Request(scope, receive)
        try:
            response = _refuse_stranger(request, gateway_of(request).settings.api_key) or await endpoint(request)
        except StarletteHTTPException as error:
            response = await _answer_problem(request, error)
        await response(scope, receive, send)

    return front


def _with_key(app: ASGIApp, key: SecretStr) -> ASGIApp:
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        is_guarded = scope["type"] == "http" and scope["path"] not in OPEN_PATHS
        refusal = _refuse_stranger(Request(scope), key) if is_guarded else None
        await (refusal or app)(scope, receive, send)

    return guarded


def _refuse_stranger(request: Request, key: SecretStr | None) -> Response | None:
    """Return the answer to a request without the key; None when it has it or none is set."""
    if has_key(request, key):
        return None
    wanted = FieldProblem("authorization", "nothing that fits", "Authorization: Bearer <key>, or X-API-Key")
    return json_response({"detail": describe([wanted])}, 401)


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)  # noqa: S101 - registered for this type only
    detail: object = error.detail
    if isinstance(detail, str):
        expected = "a route of this gateway, see /openapi.json" if error.status_code == 404 else detail
        detail = describe([FieldProblem("path", f"{request.method} {request.url.path}"[:80], expected)])
    response = json_response({"detail": detail}, error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _answer_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
    problems = [
        FieldProblem(".".join(map(str, each["loc"][1:])), str(each["input"])[:80], each["msg"])
        for each in error.errors()
    ]
    return json_response({"detail": describe(problems)}, 400)
