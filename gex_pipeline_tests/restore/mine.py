"""What is in the table of the database that is restored."""

from pathlib import Path

import duckdb


def mine(path: Path) -> int:
    with duckdb.connect(path, read_only=True) as connection:
        found = connection.execute("SELECT x FROM mine").fetchall()
    value: int = found[0][0]
    return value
