"""What a check finds, and the checks that compare staged, stored and published rows with one another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

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


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check.

    Attributes:
        passed: whether the data may be trusted in this respect.
        description: one line that says what was found.
        metadata: counts and times.
        examples: where to look, as a Markdown table; empty when there is nothing to show.
        picture: the same as an image in Markdown; empty as well.
    """

    passed: bool
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)
    examples: str = ""
    picture: str = ""


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


def of_published_day(subject: Subject, question: Question) -> Verdict:
    """Ask a question of the published day, whose two files are read once for all of them."""
    snapshots, strikes = (subject.partition.published(subject.settings, table) for table in ("snapshots", "strikes"))
    try:
        return question(subject, observe(snapshots, strikes))
    except (OSError, KeyError, duckdb.Error, pa.ArrowException) as error:
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
