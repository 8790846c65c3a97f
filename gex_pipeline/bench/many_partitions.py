"""A Dagster instance with many materialized partitions: one real import, and copies of what it left for the rest."""

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import dagster as dg

from gex_pipeline.bench.turns import BenchmarkError
from gex_pipeline.definitions import defs
from gex_pipeline.demo.sessions import Session, write_history_file
from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings
from gex_pipeline.trading_days import sessions_before

FEEDS = [Feed(f"BENCH{number:02d}", "gex_zero") for number in range(40)]
SNAPSHOTS, STRIKES = 50, 10
_BATCH = 500


def fill(settings: Settings, instance: dg.DagsterInstance, count: int, now_ms: int) -> Partition:
    """Import one small day by a real run and copy what it left for `count` partitions in all, each with its run.

    What the UI asks for is copied: runs and their tags, materializations, and executions of checks. What a run logged
    step by step, in a file of its own, is not. Returns the partition that was really imported.
    """
    days = reversed(sessions_before(now_ms, -(-count // len(FEEDS))))
    first, *others = islice((Partition(feed, day) for day, feed in product(days, FEEDS)), count)
    instance.add_dynamic_partitions("feed", [feed.key for feed in FEEDS])
    file = first.source(settings).with_suffix(".json")
    file.parent.mkdir(parents=True)
    write_history_file(file, Session(feed=first.feed, date=first.date, snapshots=SNAPSHOTS, strikes=STRIKES))
    run = import_again(settings, instance, first)
    copies = [(str(uuid.uuid4()), partition) for partition in others]
    history = settings.dagster_home_path / "history"
    _copy(history / "runs.db", ("runs", "run_tags"), run, first, copies)
    _copy(
        history / "runs" / "index.db",
        ("event_logs", "asset_event_tags", "asset_check_executions"),
        run,
        first,
        copies,
    )
    return first


def import_again(settings: Settings, instance: dg.DagsterInstance, partition: Partition) -> str:
    """Run the whole job for a partition in this process and return the run's id."""
    result = defs.resolve_job_def("history_import").execute_in_process(
        partition_key=partition.key, instance=instance, resources={"settings": settings}, raise_on_error=False
    )
    if not result.success:
        raise BenchmarkError(f"the import of {partition.key} failed")
    return result.run_id


def _copy(
    path: Path, tables: Sequence[str], run_id: str, first: Partition, copies: Sequence[tuple[str, Partition]]
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        originals = [_Original.read(connection, table, run_id) for table in tables]
        span = 1 + max(original.highest_id for original in originals)
        for start in range(0, len(copies), _BATCH):
            for original in originals:
                batch = enumerate(copies[start : start + _BATCH], start + 1)
                connection.executemany(original.insert, original.copies(run_id, first, batch, span))
            connection.commit()


@dataclass(frozen=True)
class _Original:
    """The rows that one run left in a table."""

    table: str
    columns: list[str]
    rows: list[tuple[Any, ...]]
    highest_id: int

    @classmethod
    def read(cls, connection: sqlite3.Connection, table: str, run_id: str) -> "_Original":
        of_run = "event_id IN (SELECT id FROM event_logs WHERE run_id = ?)" if "event_tags" in table else "run_id = ?"
        found = connection.execute(f"SELECT * FROM {table} WHERE {of_run} ORDER BY id", [run_id])
        columns = [column[0] for column in found.description]
        highest = connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]
        return cls(table, columns, found.fetchall(), highest)

    @property
    def insert(self) -> str:
        return f"INSERT INTO {self.table} VALUES ({', '.join('?' * len(self.columns))})"

    def copies(
        self, run_id: str, first: Partition, copies: Iterator[tuple[int, tuple[str, Partition]]], span: int
    ) -> Iterator[list[Any]]:
        for number, (copy_id, partition) in copies:
            changes = ((run_id, copy_id), *zip(_names(first), _names(partition), strict=True))
            for row in self.rows:
                yield [
                    value + number * span
                    if name == "id" or (name.endswith(("event_id", "storage_id")) and value)
                    else _changed(value, changes)
                    for name, value in zip(self.columns, row, strict=True)
                ]


def _names(partition: Partition) -> tuple[str, ...]:
    """Return how a partition is named in keys, tags and paths."""
    return partition.date.isoformat(), f"{partition.date:%Y%m%d}", partition.feed.ticker


def _changed(value: Any, changes: Sequence[tuple[str, str]]) -> Any:  # noqa: ANN401 - a column's value
    if isinstance(value, str):
        for old, new in changes:
            value = value.replace(old, new)
    return value
