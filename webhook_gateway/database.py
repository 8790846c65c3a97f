"""What the reading routes share: a short lease of the database, in a thread."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from fastapi import HTTPException

from gex_pipeline.errors import GexError
from webhook_gateway.state import Gateway

if TYPE_CHECKING:
    import duckdb

LEASE_SECONDS = 5.0

Row = TypeVar("Row")


async def read_database(
    gateway: Gateway, table: str, read: "Callable[[duckdb.DuckDBPyConnection], list[Row]]"
) -> list[Row]:
    """Return what `read` finds in a table; nothing while the database or the table does not exist yet.

    Raises:
        HTTPException: 503 with Retry-After when the database stays busy.
    """
    try:
        return await asyncio.to_thread(_read, gateway, table, read)
    except GexError as error:
        raise HTTPException(
            503, [{"field": "", "value": "", "expected": f"a free database: {error}"}], {"Retry-After": "2"}
        ) from error


def _read(gateway: Gateway, table: str, read: "Callable[[duckdb.DuckDBPyConnection], list[Row]]") -> list[Row]:
    # DuckDB is loaded here, on first use: no capture ever waits for it.
    from gex_pipeline.storage.looks import look  # noqa: PLC0415
    from gex_pipeline.storage.schema import has_table  # noqa: PLC0415

    database = gateway.settings.database_path
    if not database.exists():
        return []
    with look(database, purpose=f"read {table}", timeout_seconds=LEASE_SECONDS) as connection:
        return read(connection) if has_table(connection, table) else []
