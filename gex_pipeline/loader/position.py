"""How far a journal has been loaded; kept in the database, so that rows and position commit together."""

from dataclasses import dataclass

import duckdb

from gex_pipeline.clock import epoch_ms
from gex_pipeline.storage.lease import fetch_row


@dataclass(frozen=True, order=True)
class Position:
    """Everything before this byte of this segment is loaded."""

    segment: int
    byte_offset: int


def read_position(connection: duckdb.DuckDBPyConnection, journal: str) -> Position:
    """Return the position of a journal, the very beginning for one that was never loaded."""
    row = fetch_row(connection, "SELECT segment, byte_offset FROM loader_position WHERE journal = ?", [journal])
    return Position(*row) if row else Position(0, 0)


def write_position(connection: duckdb.DuckDBPyConnection, journal: str, position: Position) -> None:
    """Move the position; call it in the transaction that inserts the rows."""
    connection.execute("DELETE FROM loader_position WHERE journal = ?", [journal])
    connection.execute(
        "INSERT INTO loader_position BY NAME SELECT ? AS journal, ? AS segment, ? AS byte_offset, ? AS loaded_at",
        [journal, position.segment, position.byte_offset, epoch_ms()],
    )
