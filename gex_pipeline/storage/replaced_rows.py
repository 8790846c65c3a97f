"""Rows that a replacing import takes out of the tables: kept first, with every column that the tables have."""

import datetime as dt
from itertools import count
from pathlib import Path

import duckdb

from gex_pipeline.feeds import Feed
from gex_pipeline.storage.files import publish, remove_leftovers
from gex_pipeline.storage.lease import quoted
from gex_pipeline.storage.snapshots import Overlap, is_differing


def keep_replaced(
    connection: duckdb.DuckDBPyConnection, backups_dir: Path, feed: Feed, date: dt.date, overlap: Overlap
) -> tuple[Path, Path]:
    """Export the stored rows of `differing_keys`, the user's own columns included; call it before they are deleted.

    The files are durable when it returns, and no later export takes their names.

    Returns:
        Where the snapshots and the strikes are.
    """
    directory = backups_dir / "replaced" / "gexbot" / feed.ticker / feed.endpoint
    name = _new_name(directory, f"{date:%Y%m%d}-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S%f}Z")
    remove_leftovers(directory / f"{date:%Y%m%d}-*.parquet")  # theirs had the name of another moment
    snapshots, strikes = (directory / f"{name}.{table}.parquet" for table in ("snapshots", "strikes"))
    for table, path in (("gex_snapshots", snapshots), ("gex_strikes", strikes)):
        with publish(path) as beside:
            connection.execute(
                f"COPY (FROM {table} WHERE {is_differing(overlap)}) "
                f"TO '{quoted(beside)}' (FORMAT parquet, COMPRESSION zstd)"
            )
    return snapshots, strikes


def _new_name(directory: Path, moment: str) -> str:
    """Return a name nothing has: of two moments that a clock shows alike, the second is numbered."""
    names = (moment if number == 1 else f"{moment}-{number}" for number in count(1))
    return next(name for name in names if not any(directory.glob(f"{name}.*")))
