"""The integrity checks as plain functions: files and rows in, a verdict with what a person needs to act on out."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from gex_pipeline.formats.columns import PUBLISHED_SNAPSHOTS_SCHEMA, STRIKES_SCHEMA
from gex_pipeline.history.content import Content, parquet_content, staged_content, stored_content
from gex_pipeline.history.exporting import PARQUET_COLUMNS
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.history.staging import read_summary
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import fetch_row, quoted
from gex_pipeline.storage.lineage import import_ids
from gex_pipeline.storage.snapshots import as_read_back, checksum_sql, day_rows_sql
from gex_pipeline.trading_days import day_bounds_ms, new_york_time

MAX_BAD_SHARE = 0.001
_SCHEMAS: dict[Table, pa.Schema] = {"snapshots": PUBLISHED_SNAPSHOTS_SCHEMA, "strikes": STRIKES_SCHEMA}


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


@dataclass(frozen=True)
class Subject:
    """What is judged: a partition, over a connection that can read it (the database, or none for staged files)."""

    settings: Settings
    partition: Partition
    connection: duckdb.DuckDBPyConnection

    def staged(self, table: Table) -> Path:
        """Return the partition's staged file."""
        return self.partition.staged(self.settings, table)


def staged_schema(subject: Subject, table: Table) -> Verdict:
    """Staged columns have the declared names and types; `vanna` is there when a strike has one."""
    declared = _SCHEMAS[table]
    found = pq.read_schema(subject.staged(table))
    wrong = [str(field) for field in found if field not in declared] + [
        f"missing {field.name}" for field in declared if field.name not in found.names and field.name != "vanna"
    ]
    return Verdict(
        not wrong, "the declared columns" if not wrong else "; ".join(wrong), {"columns": ", ".join(found.names)}
    )


def staged_bad_records(subject: Subject) -> Verdict:
    """At most 0.1 % of the file's records could not be understood."""
    summary = read_summary(subject.staged("snapshots"))
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


def staged_not_empty(subject: Subject) -> Verdict:
    """At least one snapshot was staged."""
    rows = pq.read_metadata(subject.staged("snapshots")).num_rows
    return Verdict(rows > 0, f"{rows:,} snapshots", {"snapshots": rows})


def staged_timestamps(subject: Subject) -> Verdict:
    """Timestamps strictly increase and lie on the trading day, New York time."""
    first_ms, last_ms = day_bounds_ms(subject.partition.date)
    row = fetch_row(
        subject.connection,
        f"""SELECT count(*) FILTER (timestamp <= previous), count(*) FILTER (timestamp NOT BETWEEN ? AND ?),
        min(timestamp), max(timestamp)
        FROM (SELECT timestamp, lag(timestamp) OVER (ORDER BY file_row_number) AS previous
              FROM read_parquet('{quoted(subject.staged("snapshots"))}', file_row_number = true))""",
        [first_ms, last_ms],
    )
    not_increasing, outside, earliest, latest = row or (0, 0, None, None)
    span = f"{_clock(earliest)} to {_clock(latest)}"
    return Verdict(
        not not_increasing and not outside,
        f"{span} New York; {not_increasing:,} not increasing, {outside:,} on another day",
        {"first": _clock(earliest), "last": _clock(latest), "not_increasing": not_increasing, "outside_day": outside},
    )


def staged_strikes_belong(subject: Subject) -> Verdict:
    """Every staged strike has its staged snapshot, and there are as many as staging counted."""
    tables: tuple[Table, Table] = ("snapshots", "strikes")
    snapshots, strikes = (f"read_parquet('{quoted(subject.staged(table))}')" for table in tables)
    summary = read_summary(subject.staged("strikes"))
    rows, orphans = fetch_row(subject.connection, f"SELECT {_orphans(snapshots)} FROM {strikes}") or (0, 0)
    return Verdict(
        orphans == 0 and rows == summary.strikes,
        f"{rows:,} strikes, {orphans:,} without their snapshot",
        {"strikes": rows, "counted_by_staging": summary.strikes, "without_snapshot": orphans},
    )


def stored_matches_staged(subject: Subject, table: Table) -> Verdict:
    """Every staged key is in the database, and what this file brought in is there value for value."""
    partition, connection, path = subject.partition, subject.connection, subject.staged(table)
    summary = read_summary(subject.staged("snapshots"))
    columns = tuple(pq.read_schema(path).names)
    imports = import_ids(connection, partition.feed, partition.date, summary.sha256)
    if not imports:
        return Verdict(
            False,
            f"{summary.source} is staged but has not been imported: another run has staged it since the last import, "
            "or the import is still to come; materialize gex_snapshots and gex_strikes",
            {"sha256": summary.sha256},
        )
    brought = stored_content(
        connection, subject.settings.database_path, partition, table, columns, import_ids=imports
    )
    day = day_rows_sql(
        connection, f"gex_{table}", ("timestamp", "import_id"), partition.feed, *day_bounds_ms(partition.date)
    )
    in_file = pq.read_metadata(path).num_rows
    if brought.rows == in_file:
        missing, offered = 0, staged_content(connection, table, path, columns)
    else:
        rows = as_read_back(connection, f"gex_{table}", columns, f"read_parquet('{quoted(path)}')")
        missing, *offer = fetch_row(
            connection,
            f"""
            WITH stored AS MATERIALIZED (SELECT DISTINCT timestamp, import_id FROM ({day})),
            offered AS (FROM {rows} SEMI JOIN (FROM stored WHERE list_contains(?, import_id))
                        USING (timestamp))
            SELECT (SELECT count(*) FROM read_parquet('{quoted(path)}') ANTI JOIN stored USING (timestamp)),
                   count(*), {checksum_sql(columns)} FROM offered
            """,
            [imports],
        ) or (0, 0, 0)
        offered = Content(*offer)
    return Verdict(
        missing == 0 and brought == offered,
        f"{in_file:,} rows in the file, {missing:,} missing from the database; "
        f"{brought.rows:,} brought in by this file, {'equal' if brought == offered else 'NOT equal'} to it",
        {
            "rows_in_file": in_file,
            "rows_missing": missing,
            "rows_from_this_file": brought.rows,
            "checksum_database": str(brought.checksum),
            "checksum_file": str(offered.checksum),
        },
    )


def stored_strikes_belong(subject: Subject) -> Verdict:
    """Every stored strike of the day has its stored snapshot."""
    partition, connection = subject.partition, subject.connection
    day = day_bounds_ms(partition.date)
    snapshots = day_rows_sql(connection, "gex_snapshots", ("timestamp", "endpoint"), partition.feed, *day)
    strikes = day_rows_sql(connection, "gex_strikes", ("timestamp", "endpoint"), partition.feed, *day)
    rows, orphans = fetch_row(connection, f"SELECT {_orphans(f'({snapshots})')} FROM ({strikes})") or (0, 0)
    return Verdict(
        orphans == 0,
        f"{rows:,} strikes, {orphans:,} without their snapshot",
        {"strikes": rows, "without_snapshot": orphans},
    )


def published_matches_stored(subject: Subject, table: Table) -> Verdict:
    """The Parquet file holds what the database holds of this day: as many rows, with the same content."""
    columns = PARQUET_COLUMNS[table]
    path = subject.partition.published(subject.settings, table)
    try:
        published = parquet_content(subject.connection, path, columns)
    except duckdb.Error as error:
        return Verdict(
            False,
            f"{path} cannot be read, {str(error).splitlines()[0]}; materialize {table}_parquet again, "
            "which keeps the file aside",
        )
    stored = stored_content(subject.connection, subject.settings.database_path, subject.partition, table, columns)
    return Verdict(
        published == stored,
        f"{published.rows:,} rows in the Parquet file, {stored.rows:,} in the database, "
        f"{'equal' if published == stored else 'NOT equal'}",
        {
            "rows_parquet": published.rows,
            "rows_database": stored.rows,
            "checksum_parquet": str(published.checksum),
            "checksum_database": str(stored.checksum),
        },
    )


def _orphans(snapshots: str) -> str:
    """Return two aggregates over strikes: how many there are, and how many have no row in `snapshots`."""
    return f"count(*), count(*) FILTER (timestamp NOT IN (SELECT timestamp FROM {snapshots}))"


def _clock(timestamp_ms: int | None) -> str:
    """Return a moment as it is shown, New York time; empty for none."""
    return f"{new_york_time(timestamp_ms):%Y-%m-%d %H:%M:%S}" if timestamp_ms is not None else ""
