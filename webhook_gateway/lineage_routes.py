"""Where the rows came from, and what became of every attempt to import a file."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import normalise_endpoint, normalise_ticker
from webhook_gateway import openapi
from webhook_gateway.bodies import describe, json_response
from webhook_gateway.database import read_database
from webhook_gateway.state import gateway_of

if TYPE_CHECKING:
    import duckdb

Status = Literal["imported", "unchanged", "replaced", "refused", "failed"]
RecordType = Literal["history", "live"]

router = APIRouter(tags=["history"])


@router.get("/lineage", responses=openapi.lineage_answers())
async def show_lineage(
    request: Request,
    ticker: Annotated[str | None, Query(examples=["NQ_NDX"])] = None,
    endpoint: Annotated[str | None, Query(examples=["gex_zero"])] = None,
    date: Annotated[str | None, Query(description="the trading day", examples=["2025-11-14"])] = None,
    status: Status | None = None,
    record_type: Annotated[RecordType | None, Query(description="history files or journal segments")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """List history files and journal segments with checksum, counts, outcome and run id, the newest first.

    Journal segments hold many feeds, so a ticker, an endpoint or a date leaves only history files.
    """
    try:
        wanted: dict[str, object] = {
            "ticker": None if ticker is None else normalise_ticker(ticker),
            "endpoint": None if endpoint is None else normalise_endpoint(endpoint),
            "date": None if date is None else _read_day(date),
            "status": status,
            "record_type": record_type,
        }
    except RecordError as error:
        raise HTTPException(400, describe(error.problems)) from error

    def read(connection: "duckdb.DuckDBPyConnection") -> list[dict[str, Any]]:
        from gex_pipeline.storage.lineage import list_lineage  # noqa: PLC0415

        return list_lineage(connection, wanted, limit=limit)

    return json_response(await read_database(gateway_of(request), "data_lineage", read))


def _read_day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise RecordError.of("date", text, "a date such as 2025-11-14") from error
