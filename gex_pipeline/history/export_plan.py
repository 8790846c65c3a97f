"""Which days of which feeds want an export: those of which the database holds more than their Parquet files."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from gex_pipeline.errors import PermanentError
from gex_pipeline.feeds import Feed, is_feed
from gex_pipeline.history.day import TABLES
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import fetch_row, lease
from gex_pipeline.storage.schema import missing_schema
from gex_pipeline.trading_days import day_bounds_ms, new_york_time, trading_days

# The last snapshots of a session need a moment to arrive and to be loaded.
SETTLED_AFTER_MS = 30 * 60_000
LOOK_BACK_DAYS = 10


class Rows(NamedTuple):
    """How many rows of one day and feed there are."""

    snapshots: int
    strikes: int


def plan_exports(
    stored: Mapping[Partition, Rows], published: Mapping[Partition, Rows], under_way: Collection[Partition]
) -> list[Partition]:
    """Return what is to be exported: what was never published, and what has more rows than were published.

    A file with more rows than the database is left alone, as an export would be refused.

    Args:
        stored: what the database holds.
        published: what the files hold; nothing where a file is missing or cannot be read.
        under_way: what a run will export anyway.
    """
    return [
        partition
        for partition, rows in stored.items()
        if partition not in under_way
        and ((files := published.get(partition)) is None or any(map(int.__gt__, rows, files)))
    ]


def stored_rows(connection: duckdb.DuckDBPyConnection, dates: Sequence[dt.date]) -> dict[Partition, Rows]:
    """Count what the database holds of these days, per feed, by day and feed; zone maps make it cheap.

    A file that the loader has not adopted yet has nothing to offer.
    """
    if missing_schema(connection):
        return {}
    found: dict[Partition, Rows] = {}
    for date in dates:
        strikes = _count(connection, "strikes", date)
        for feed, rows in sorted(_count(connection, "snapshots", date).items()):
            found[Partition(feed, date)] = Rows(rows, strikes.get(feed, 0))
    return found


def stored_days(
    settings: Settings, feeds: Collection[Feed], first: dt.date | None, last: dt.date | None
) -> list[Partition]:
    """Return the trading days of which the database holds snapshots, by day and feed.

    Args:
        settings: which database.
        feeds: only these; all when empty.
        first: the first day to look at; None: the first there is.
        last: the last one; None: the last there is.

    Raises:
        PermanentError: there is no database, or one that the loader has not adopted yet.
        LeaseTimeoutError: the database stayed busy.
    """
    with lease(settings.database_path, purpose="look for days to export", read_only=True) as connection:
        if missing_schema(connection):
            raise PermanentError(f"{settings.database_path} lacks columns; start gex up once, which adds them")
        bounds = fetch_row(connection, "SELECT min(timestamp), max(timestamp) FROM gex_snapshots")
        if bounds is None or bounds[0] is None:
            return []
        earliest, latest = (new_york_time(moment).date() for moment in bounds)
        dates = trading_days(max(earliest, first or earliest), min(latest, last or latest))
        found = [Partition(feed, date) for date in dates for feed in sorted(_count(connection, "snapshots", date))]
    return [partition for partition in found if not feeds or partition.feed in feeds]


def published_rows(settings: Settings, partition: Partition) -> Rows | None:
    """Count what the Parquet files of a day hold; None when one is missing or cannot be read."""
    try:
        return Rows(*(pq.read_metadata(partition.published(settings, table)).num_rows for table in TABLES))
    except (OSError, pa.ArrowInvalid):
        return None


def _count(connection: duckdb.DuckDBPyConnection, table: Table, date: dt.date) -> dict[Feed, int]:
    found = connection.execute(
        f"SELECT ticker, coalesce(endpoint, 'gex_zero'), count(*) FROM gex_{table} "
        "WHERE timestamp BETWEEN ? AND ? GROUP BY ALL",
        list(day_bounds_ms(date)),
    ).fetchall()
    return {Feed(ticker, endpoint): rows for ticker, endpoint, rows in found if is_feed(ticker, endpoint)}
