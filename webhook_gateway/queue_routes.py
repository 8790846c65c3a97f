"""What became of announced history files."""

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from gex_pipeline.errors import FieldProblem
from webhook_gateway import openapi
from webhook_gateway.bodies import json_response, problem
from webhook_gateway.database import read_database
from webhook_gateway.state import Gateway, gateway_of

if TYPE_CHECKING:
    import duckdb

LISTED = 200

router = APIRouter(tags=["history"])


@router.get("/gex_history_queue", responses=openapi.queue_answers())
async def list_queue(request: Request) -> Response:
    """List the announced history files, the last announced first."""
    gateway = gateway_of(request)
    stored = {each["id"]: each for each in await _read(gateway, None)}
    fresh = _not_loaded_yet(gateway, stored)
    return json_response([*reversed(fresh.values()), *(each for key, each in stored.items() if key not in fresh)])


@router.get("/gex_history_queue/{request_id}", responses=openapi.queue_answers())
async def show_request(request: Request, request_id: Annotated[int, Path(ge=0, lt=2**53)]) -> Response:
    """Show one announced history file: pending, started, completed or failed, with attempts, last error, run id."""
    gateway = gateway_of(request)
    stored = {each["id"]: each for each in await _read(gateway, request_id)}
    found = (stored | _not_loaded_yet(gateway, stored)).get(request_id)
    if found is None:
        raise problem(404, FieldProblem("id", str(request_id), "the id from the answer to POST /gex_history_url"))
    return json_response(found)


async def _read(gateway: Gateway, key: int | None) -> list[dict[str, Any]]:
    """Read one request, or the latest ones and those that were just accepted."""

    def read(connection: "duckdb.DuckDBPyConnection") -> list[dict[str, Any]]:
        from gex_pipeline.storage.request_queue import find_request, list_requests  # noqa: PLC0415

        if key is None:
            listed = {each.id: each for each in list_requests(connection, limit=LISTED)}
            older = [find_request(connection, known) for known in list(gateway.accepted) if known not in listed]
            return [each.public() for each in (*listed.values(), *older) if each is not None]
        found = find_request(connection, key)
        return [found.public()] if found else []

    return await read_database(gateway, "gex_history_queue", read)


def _not_loaded_yet(gateway: Gateway, stored: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return what was accepted and has not reached the database, and forget what has."""
    for key in [key for key, each in gateway.accepted.items() if _reached(each, stored.get(key))]:
        del gateway.accepted[key]
    return dict(gateway.accepted)


def _reached(accepted: dict[str, Any], stored: dict[str, Any] | None) -> bool:
    return stored is not None and stored["announced_at"] >= accepted["announced_at"]
