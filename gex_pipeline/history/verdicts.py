"""The integrity checks as plain functions: files and rows in, a verdict with what a person needs to act on out."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from gex_pipeline.errors import PermanentError
from gex_pipeline.formats.columns import SNAPSHOTS_SCHEMA, STRIKES_SCHEMA
from gex_pipeline.history.exporting import PARQUET_COLUMNS
from gex_pipeline.history.importing import LEASE_TIMEOUT_SECONDS
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.history.staging import read_summary
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import fetch_row, in_memory, lease, quoted
from gex_pipeline.storage.lineage import import_ids
from gex_pipeline.storage.snapshots import SNAPSHOT_COLUMNS, STRIKE_COLUMNS, checksum_sql, day_rows_sql
from gex_pipeline.trading_days import day_bounds_ms, new_york_time

MAX_BAD_SHARE = 0.001
_SCHEMAS: dict[Table, pa.Schema] = {"snapshots": SNAPSHOTS_SCHEMA, "strikes": STRIKES_SCHEMA}
_COLUMNS: dict[Table, tuple[str, ...]] = {"snapshots": SNAPSHOT_COLUMNS, "strikes": STRIKE_COLUMNS}


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check.

    Attributes:
        passed: whether the data may be trusted in this respect.
        description: one line that says what was found.
        metadata: counts, times and examples.
    """

    passed: bool
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)


def staged_schema(settings: Settings, partition: Partition, table: Table) -> Verdict:
    """Staged columns have the declared names and types."""
    declared = _SCHEMAS[table]
    found = pq.read_schema(partition.staged(settings, table))
    wrong = [str(field) for field in found if field not in declared] + [
        f"missing {field.name}" for field in declared if field.name not in found.names
    ]
    return Verdict(
        not wrong, "the declared columns" if not wrong else "; ".join(wrong), {"columns": ", ".join(found.names)}
    )


def staged_bad_records(settings: Settings, partition: Partition) -> Verdict:
    """At most 0.1 % of the file's records could not be understood."""
    summary = read_summary(partition.staged(settings, "snapshots"))
    share = summary.bad / summary.records if summary.records else 0.0
    return Verdict(
        share <= MAX_BAD_SHARE,
        f"{summary.bad:,} of {summary.records:,} records are bad ({share:.2%}, at most {MAX_BAD_SHARE:.1%} may be)",
        {
            "bad_records": summary.bad,
            "records": summary.records,
            "bad_share": share,
            **({"examples": list(summary.examples), "quarantine": summary.quarantine} if summary.bad else {}),
        },
    )


def staged_not_empty(settings: Settings, partition: Partition) -> Verdict:
    """At least one snapshot was staged."""
    rows = pq.read_metadata(partition.staged(settings, "snapshots")).num_rows
    return Verdict(rows > 0, f"{rows:,} snapshots", {"snapshots": rows})


def staged_timestamps(settings: Settings, partition: Partition) -> Verdict:
    """Timestamps strictly increase and lie on the trading day, New York time."""
    first_ms, last_ms = day_bounds_ms(partition.date)
    with in_memory() as connection:
        row = fetch_row(
            connection,
            f"""SELECT count(*) FILTER (timestamp <= previous), count(*) FILTER (timestamp NOT BETWEEN ? AND ?),
            min(timestamp), max(timestamp)
            FROM (SELECT timestamp, lag(timestamp) OVER (ORDER BY file_row_number) AS previous
                  FROM read_parquet('{quoted(partition.staged(settings, "snapshots"))}', file_row_number = true))""",
            [first_ms, last_ms],
        )
    not_increasing, outside, earliest, latest = row or (0, 0, None, None)
    span = f"{_clock(earliest)} to {_clock(latest)}"
    return Verdict(
        not not_increasing and not outside,
        f"{span} New York; {not_increasing:,} not increasing, {outside:,} on another day",
        {"first": _clock(earliest), "last": _clock(latest), "not_increasing": not_increasing, "outside_day": outside},
    )


def staged_strikes_belong(settings: Settings, partition: Partition) -> Verdict:
    """Every staged strike has its staged snapshot, and there are as many as staging counted."""
    tables: tuple[Table, Table] = ("snapshots", "strikes")
    snapshots, strikes = (f"read_parquet('{quoted(partition.staged(settings, table))}')" for table in tables)
    summary = read_summary(partition.staged(settings, "strikes"))
    with in_memory() as connection:
        row = fetch_row(
            connection,
            f"SELECT {_orphans(snapshots)} FROM {strikes}",
        )
    rows, orphans = row or (0, 0)
    return Verdict(
        orphans == 0 and rows == summary.strikes,
        f"{rows:,} strikes, {orphans:,} without their snapshot",
        {"strikes": rows, "counted_by_staging": summary.strikes, "without_snapshot": orphans},
    )


def require_sound(settings: Settings, partition: Partition) -> None:
    """Judge the staged rows once more, right before they are imported.

    Raises:
        MalformedFileError: nothing is staged.
        PermanentError: another run has put other rows there since they were checked, and those do not pass.
    """
    read_summary(partition.staged(settings, "snapshots"))
    judged = [
        staged_schema(settings, partition, "snapshots"),
        staged_schema(settings, partition, "strikes"),
        staged_bad_records(settings, partition),
        staged_not_empty(settings, partition),
        staged_timestamps(settings, partition),
        staged_strikes_belong(settings, partition),
    ]
    if failed := [verdict.description for verdict in judged if not verdict.passed]:
        raise PermanentError(f"the staged rows of {partition.key} do not pass their checks: {'; '.join(failed)}")


def stored_matches_staged(settings: Settings, partition: Partition, table: Table) -> Verdict:
    """Every staged key is in the database, and what this file brought in is there value for value."""
    staged = f"read_parquet('{quoted(partition.staged(settings, table))}')"
    columns = _COLUMNS[table]
    summary = read_summary(partition.staged(settings, "snapshots"))
    with _reading(settings, partition) as connection:
        imported = import_ids(connection, partition.feed, partition.date, summary.sha256)
        rows_of_day = day_rows_sql(
            connection, f"gex_{table}", (*columns, "import_id"), partition.feed, *day_bounds_ms(partition.date)
        )
        row = fetch_row(
            connection,
            f"""
            WITH stored AS MATERIALIZED ({rows_of_day}), brought AS (FROM stored WHERE list_contains(?, import_id)),
            offered AS (SELECT * FROM {staged} SEMI JOIN brought USING (timestamp))
            SELECT (SELECT count(*) FROM {staged}),
                   (SELECT count(*) FROM {staged} ANTI JOIN stored USING (timestamp)),
                   (SELECT count(*) FROM brought), (SELECT {checksum_sql(columns)} FROM brought),
                   (SELECT count(*) FROM offered), (SELECT {checksum_sql(columns)} FROM offered)
            """,
            [imported],
        )
    in_file, missing, brought, checksum, expected, expected_checksum = row or (0,) * 6
    return Verdict(
        bool(imported) and missing == 0 and brought == expected and checksum == expected_checksum,
        f"{in_file:,} rows in the file, {missing:,} missing from the database; "
        f"{brought:,} brought in by this file, {'equal' if checksum == expected_checksum else 'NOT equal'} to it",
        {
            "rows_in_file": in_file,
            "rows_missing": missing,
            "rows_from_this_file": brought,
            "checksum_database": str(checksum),
            "checksum_file": str(expected_checksum),
        },
    )


def stored_strikes_belong(settings: Settings, partition: Partition) -> Verdict:
    """Every stored strike of the day has its stored snapshot."""
    day = day_bounds_ms(partition.date)
    with _reading(settings, partition) as connection:
        snapshots = day_rows_sql(connection, "gex_snapshots", ("timestamp", "endpoint"), partition.feed, *day)
        strikes = day_rows_sql(connection, "gex_strikes", ("timestamp", "endpoint"), partition.feed, *day)
        row = fetch_row(
            connection,
            f"SELECT {_orphans(f'({snapshots})')} FROM ({strikes})",
        )
    rows, orphans = row or (0, 0)
    return Verdict(
        orphans == 0,
        f"{rows:,} strikes, {orphans:,} without their snapshot",
        {"strikes": rows, "without_snapshot": orphans},
    )


def published_matches_stored(settings: Settings, partition: Partition, table: Table) -> Verdict:
    """The Parquet file holds what the database holds of this day: as many rows, with the same content."""
    path = partition.published(settings, table)
    columns = PARQUET_COLUMNS[table]
    totals = f"SELECT count(*), {checksum_sql(columns)} FROM "
    with _reading(settings, partition) as connection:
        day = day_rows_sql(connection, f"gex_{table}", columns, partition.feed, *day_bounds_ms(partition.date))
        stored, stored_checksum = fetch_row(connection, f"{totals} ({day})") or (0, 0)
    with in_memory() as connection:
        rows, checksum = fetch_row(connection, f"{totals} read_parquet('{quoted(path)}')") or (0, 0)
    return Verdict(
        rows == stored and checksum == stored_checksum,
        f"{rows:,} rows in the Parquet file, {stored:,} in the database, "
        f"{'equal' if checksum == stored_checksum else 'NOT equal'}",
        {
            "rows_parquet": rows,
            "rows_database": stored,
            "checksum_parquet": str(checksum),
            "checksum_database": str(stored_checksum),
        },
    )


def _reading(settings: Settings, partition: Partition) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    purpose = f"check {partition.key}"
    return lease(settings.database_path, purpose=purpose, timeout_seconds=LEASE_TIMEOUT_SECONDS, read_only=True)


def _orphans(snapshots: str) -> str:
    """Return two aggregates over strikes: how many there are, and how many have no row in `snapshots`."""
    return f"count(*), count(*) FILTER (timestamp NOT IN (SELECT timestamp FROM {snapshots}))"


def _clock(timestamp_ms: int | None) -> str:
    """Return a moment as it is shown, New York time; empty for none."""
    return f"{new_york_time(timestamp_ms):%Y-%m-%d %H:%M:%S}" if timestamp_ms is not None else ""
