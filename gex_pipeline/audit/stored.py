"""What the database says of all days at once, under one read-only lease."""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from gex_pipeline.audit.figures import ImportedDay, StoredDay
from gex_pipeline.errors import PermanentError
from gex_pipeline.feeds import Feed, is_feed
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import fetch_row, lease
from gex_pipeline.storage.lineage import FileAttempt, list_attempts
from gex_pipeline.storage.schema import missing_schema
from gex_pipeline.storage.snapshots import rows_sql
from gex_pipeline.trading_days import FIRST_DAY, day_bounds_ms, new_york_time, session_bounds_ms, trading_days

_COLUMNS = ("timestamp", "ticker", "endpoint", "source")


@dataclass(frozen=True)
class InDatabase:
    """The days of which the database holds snapshots, and those of which a history file was tried."""

    stored: dict[Partition, StoredDay]
    imported: dict[Partition, ImportedDay]


def read_database(settings: Settings, lease_timeout_seconds: float) -> InDatabase:
    """Return what the database holds, day by day.

    Raises:
        LeaseTimeoutError: it stayed busy; the message says who holds it.
        PermanentError: it does not exist, is damaged, or was not adopted yet.
    """
    with lease(
        settings.database_path, purpose="audit", timeout_seconds=lease_timeout_seconds, read_only=True
    ) as connection:
        if missing_schema(connection):
            raise PermanentError(f"{settings.database_path} lacks columns; start gex up once, which adds them")
        return InDatabase(_stored_days(connection), _imported_days(connection))


def _stored_days(connection: duckdb.DuckDBPyConnection) -> dict[Partition, StoredDay]:
    bounds = fetch_row(connection, "SELECT min(timestamp), max(timestamp) FROM gex_snapshots")
    if bounds is None or bounds[0] is None:
        return {}
    earliest, latest = (new_york_time(moment).date() for moment in bounds)
    connection.register("audited_days", _hours_of(trading_days(max(earliest, FIRST_DAY), latest)))
    try:
        rows = connection.execute(_grouped_sql(connection)).fetchall()
    finally:
        connection.unregister("audited_days")
    return {
        Partition(Feed(ticker, endpoint), date): StoredDay(*(*figures, tuple(sorted(sources))))
        for ticker, endpoint, date, *figures, sources in rows
        if is_feed(ticker, endpoint)
    }


def _hours_of(dates: Sequence[dt.date]) -> pa.Table:
    """Return the New York day and the session of each trading day, epoch milliseconds UTC."""
    bounds = [(*day_bounds_ms(date), *session_bounds_ms(date)) for date in dates]
    names = ("first_ms", "last_ms", "opens_ms", "closes_ms")
    columns: list[Any] = [pa.array(column, pa.int64()) for column in zip(*bounds, strict=True)] or [[]] * len(names)
    return pa.table({"date": pa.array(dates, pa.date32())} | dict(zip(names, columns, strict=True)))


def _grouped_sql(connection: duckdb.DuckDBPyConnection) -> str:
    return f"""
        WITH inside AS (
            SELECT ticker, endpoint, date, timestamp, coalesce(source, 'legacy') AS source,
                   timestamp BETWEEN opens_ms AND closes_ms AS in_session
            FROM ({rows_sql(connection, "gex_snapshots", _COLUMNS)})
            ASOF JOIN audited_days ON timestamp >= first_ms WHERE timestamp <= last_ms
        ), steps AS (
            SELECT *, timestamp - lag(timestamp) OVER (
                PARTITION BY ticker, endpoint, date, in_session ORDER BY timestamp) AS step
            FROM inside
        )
        SELECT ticker, endpoint, date, count(*), min(timestamp), max(timestamp), count(*) FILTER (in_session),
               min(timestamp) FILTER (in_session), max(timestamp) FILTER (in_session),
               max(step) FILTER (in_session), median(step) FILTER (in_session), list(DISTINCT source)
        FROM steps GROUP BY ALL
    """


def _imported_days(connection: duckdb.DuckDBPyConnection) -> dict[Partition, ImportedDay]:
    """Fold the attempts with each day's files into what they came to."""
    attempts: defaultdict[Partition, list[FileAttempt]] = defaultdict(list)
    for attempt in list_attempts(connection):
        attempts[Partition(attempt.feed, attempt.date)].append(attempt)
    return {partition: _folded(each) for partition, each in attempts.items()}


def _folded(attempts: Sequence[FileAttempt]) -> ImportedDay:
    done = [each for each in attempts if each.status in {"imported", "replaced", "unchanged"}]
    differing = {each.sha256: each.differing for each in done if each.status != "unchanged"}
    return ImportedDay(
        outcome=attempts[-1].status,
        errors=attempts[-1].errors,
        snapshots=max((each.snapshots for each in done), default=0),
        differing=sum(differing.values()),
        hashes=frozenset(each.sha256 for each in done if each.sha256),
        had_file=any(each.sha256 for each in attempts),
    )
