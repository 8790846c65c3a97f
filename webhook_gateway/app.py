"""The gateway's application: routes, middleware, and what starts and stops with it."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from gex_pipeline import __version__
from gex_pipeline.errors import FieldProblem
from gex_pipeline.settings import Settings
from webhook_gateway import capture, health, lineage_routes, queue_routes
from webhook_gateway.bodies import describe, has_key, json_response
from webhook_gateway.child_process import ChildProcess
from webhook_gateway.journal_writer import JournalWriter
from webhook_gateway.rate_limits import RateLimits
from webhook_gateway.state import Gateway

OPEN_PATHS = frozenset({"/health", "/ready"})

logger = logging.getLogger(__name__)


def create_app(settings: Settings, *, with_loader: bool = True, url: str | None = None) -> FastAPI:
    """Build the application and take the journal; its lifespan gives it back and runs the child processes.

    Args:
        settings: whether operators are to be told, among much else.
        with_loader: run the loader.
        url: where this application will answer, for the one that watches it; None: nobody does.

    Raises:
        PermanentError: another gateway already writes the same journal.
    """

    journal = JournalWriter(settings.journal_dir)
    loader = ChildProcess(settings, "loader")
    alerts = ChildProcess(settings, "alerts", "--gateway", url) if settings.notify_urls and url else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.gateway = Gateway(settings, journal, loader, RateLimits(settings))
        if with_loader:
            loader.start()
        if alerts is not None:
            alerts.start()
        try:
            yield
        finally:
            if alerts is not None:
                await alerts.stop()
            await journal.close()
            await loader.stop()

    app = FastAPI(
        title="GEX webhook gateway",
        version=__version__,
        summary="Takes GexBot snapshots, Unusual Whales messages and history file links; an answer is a promise.",
        lifespan=lifespan,
    )
    app.include_router(capture.router)
    app.include_router(queue_routes.router)
    app.include_router(lineage_routes.router)
    app.include_router(health.router)
    app.add_exception_handler(StarletteHTTPException, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    if settings.api_key is not None:
        app.middleware("http")(_require_key(settings))
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["content-type", "authorization", "x-api-key"],
        allow_private_network=True,
    )
    return app


def _require_key(settings: Settings) -> Callable[..., Awaitable[Response]]:
    async def require_key(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path in OPEN_PATHS or has_key(request, settings.api_key):
            return await call_next(request)
        wanted = FieldProblem("authorization", "nothing that fits", "Authorization: Bearer <key>, or X-API-Key")
        return json_response({"detail": describe([wanted])}, 401)

    return require_key


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)  # noqa: S101 - registered for this type only
    detail: object = error.detail
    if isinstance(detail, str):
        expected = "a route of this gateway, see /docs" if error.status_code == 404 else detail
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
