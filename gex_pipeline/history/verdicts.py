"""The integrity checks as plain functions: files and rows in, a verdict with what a person needs to act on out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gex_pipeline.formats.columns import PUBLISHED_SNAPSHOTS_SCHEMA, STRIKES_SCHEMA
from gex_pipeline.history.content import Content, parquet_content, staged_content, stored_content
from gex_pipeline.history.exporting import PARQUET_COLUMNS
from gex_pipeline.history.observed import Day, observe
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
        metadata: counts and times.
        examples: where to look, as a Markdown table; empty when there is nothing to show.
    """

    passed: bool
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)
    examples: str = ""


@dataclass(frozen=True)
class Subject:
    """What is judged: a partition, over a connection that can read it (the database, or none for staged files)."""

    settings: Settings
    partition: Partition
    connection: duckdb.DuckDBPyConnection

    def staged(self, table: Table) -> Path:
        """Return the partition's staged file."""
        return self.partition.staged(self.settings, table)


Question = Callable[[Subject, Day], Verdict]


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
    span = f"{clock(earliest)} to {clock(latest)}"
    return Verdict(
        not not_increasing and not outside,
        f"{span} New York; {not_increasing:,} not increasing, {outside:,} on another day",
        {"first": clock(earliest), "last": clock(latest), "not_increasing": not_increasing, "outside_day": outside},
    )


def staged_duplicates(subject: Subject) -> Verdict:
    """Records that repeat a timestamp say the same as the first one."""
    summary = read_summary(subject.staged("snapshots"))
    return Verdict(
        not summary.duplicates_differing,
        f"{summary.duplicates:,} of {summary.records:,} records repeat a timestamp, {summary.duplicates_differing:,} "
        "of them with other values; the first one is kept",
        {"duplicates": summary.duplicates, "duplicates_differing": summary.duplicates_differing},
    )


def staged_prices(_subject: Subject, day: Day) -> Verdict:
    """At most 0.1 % of the snapshots have a spot or a strike that is zero or negative."""
    is_bad = pc.or_kleene(pc.less_equal(day.rows["spot_price"], 0), pc.less_equal(day.rows["lowest"], 0))
    bad = day.rows.filter(is_bad)
    share = bad.num_rows / len(day.times) if len(day.times) else 0.0
    examples = bad.select(["timestamp", "spot_price", "lowest"]).slice(0, 5).to_pylist()
    return Verdict(
        share <= MAX_BAD_SHARE,
        f"{bad.num_rows:,} of {len(day.times):,} snapshots have a spot or a strike that is zero or negative "
        f"(at most {MAX_BAD_SHARE:.1%} may)",
        {"bad_snapshots": bad.num_rows, "snapshots": len(day.times), "bad_share": share},
        markdown(
            ("time", "spot", "lowest strike"), [(clock(time), *rest) for time, *rest in map(dict.values, examples)]
        ),
    )


def staged_strikes_belong(subject: Subject, day: Day) -> Verdict:
    """Every staged strike has its staged snapshot, and there are as many as staging counted."""
    summary = read_summary(subject.staged("strikes"))
    return Verdict(
        day.orphans == 0 and day.strikes == summary.strikes,
        f"{day.strikes:,} strikes, {day.orphans:,} without their snapshot",
        {"strikes": day.strikes, "counted_by_staging": summary.strikes, "without_snapshot": day.orphans},
    )


def staged_ladders(_subject: Subject, day: Day) -> Verdict:
    """Strikes ascend in each ladder, and each comes once."""
    repeated, descending = len(day.repeated), len(day.descending)
    wrong = np.unique(np.concatenate((day.repeated, day.descending)))[:5]
    return Verdict(
        not repeated and not descending,
        f"{repeated:,} strikes come twice, {descending:,} are lower than the one before",
        {"repeated_strikes": repeated, "descending_strikes": descending},
        markdown(("time",), [(clock(int(time)),) for time in wrong]),
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


def of_staged_day(subject: Subject, question: Question) -> Verdict:
    """Ask a question of the staged day, whose two files are read once for all of them."""
    if not all(staged_schema(subject, table).passed for table in _SCHEMAS):
        return Verdict(False, "cannot be told while the columns are not the declared ones; see schema")
    return question(subject, observe(subject.connection, *(subject.staged(table) for table in _SCHEMAS)))


def of_published_day(subject: Subject, question: Question) -> Verdict:
    """Ask a question of the published day, whose two files are read once for all of them."""
    snapshots, strikes = (subject.partition.published(subject.settings, table) for table in _SCHEMAS)
    try:
        return question(subject, observe(subject.connection, snapshots, strikes))
    except (OSError, duckdb.Error, pa.ArrowException) as error:
        return Verdict(
            False, f"the published files cannot be read, {str(error).splitlines()[0]}; see matches_database"
        )


def _orphans(snapshots: str) -> str:
    """Return two aggregates over strikes: how many there are, and how many have no row in `snapshots`."""
    return f"count(*), count(*) FILTER (timestamp NOT IN (SELECT timestamp FROM {snapshots}))"


def clock(timestamp_ms: int | None) -> str:
    """Return a moment as it is shown, New York time; empty for none."""
    return f"{new_york_time(timestamp_ms):%Y-%m-%d %H:%M:%S}" if timestamp_ms is not None else ""


def markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as a Markdown table; empty without any."""
    lines = [columns, ["---"] * len(columns), *rows] if rows else []
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
