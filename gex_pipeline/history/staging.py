"""Staging: one history file parsed into two Parquet files in bounded memory, bad records to quarantine."""

import mmap
import os
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, Self

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from gex_pipeline.errors import MalformedFileError, RecordError, TransientError
from gex_pipeline.feeds import Feed
from gex_pipeline.formats.columns import (
    PUBLISHED_SNAPSHOTS_SCHEMA,
    PUBLISHED_STRIKES_SCHEMA,
    STRIKES_SCHEMA,
    SnapshotColumns,
)
from gex_pipeline.formats.day_columns import read_day_columns
from gex_pipeline.formats.gexbot import Snapshot, parse_snapshot
from gex_pipeline.formats.history_file import (
    Piece,
    Record,
    UnsoundArrayError,
    decompress,
    is_gzip,
    split_array,
    split_document,
)
from gex_pipeline.history.download import SourceFile
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings
from gex_pipeline.storage.disk import disk_errors
from gex_pipeline.storage.files import publish, sha256_of_open
from gex_pipeline.storage.quarantine import BadRecord, history_quarantine_path, write_quarantine

# Some 20 minutes of one feed at 100 strikes: what a reader skips by time.
ROW_GROUP_ROWS = 120_000
LOCK_SECONDS = 600.0
SUMMARY_KEY = b"gex_pipeline.staged"
# Quick to write: a dictionary of numbers, or a closer compression, would take the import a fifth longer. Files that
# are published are packed at night. Readers skip by time; the other columns' bounds would only cost.
PARQUET_OPTIONS: dict[str, Any] = {
    "compression": "lz4",
    "use_dictionary": ["timestamp", "ticker", "endpoint", "source", "strike"],
    "write_statistics": ["timestamp"],
}


@dataclass(frozen=True)
class StagedSummary:
    """What staging found; it travels inside both Parquet files.

    Attributes:
        source: file name of the history file.
        sha256: of its bytes.
        records: in the file, good and bad.
        snapshots: staged, each timestamp once.
        strikes: staged.
        is_sorted: both are in the order of the published files, by timestamp and strike.
        duplicates: records with a timestamp that an earlier record had.
        duplicates_differing: those of them whose text was not the same; the first stays.
        bad: records that could not be understood.
        examples: up to five `position: reason` of bad records.
        commonest: what is wrong with most of them, whatever their values; empty when there are none.
        commonest_records: how many that is true of.
        quarantine: path of the file with all of them, None when there are none.
        first_ms: earliest timestamp, epoch milliseconds UTC; None without snapshots.
        last_ms: latest timestamp.
    """

    source: str
    sha256: str
    records: int
    snapshots: int
    strikes: int
    is_sorted: bool
    duplicates: int
    duplicates_differing: int
    bad: int
    examples: tuple[str, ...]
    quarantine: str | None
    first_ms: int | None
    last_ms: int | None
    commonest: str = ""
    commonest_records: int = 0


class _VannaFoundError(Exception):
    """Strikes have a vanna, so the file needs its column."""


def stage(settings: Settings, partition: Partition, source: SourceFile) -> StagedSummary:
    """Parse a history file into the partition's two staged Parquet files.

    The strikes have a column `vanna` only when one of them has a vanna. Without it they are laid out as the
    published file is.

    Raises:
        MalformedFileError: it is not a whole document of snapshots; nothing is staged.
        DiskFullError: there is no room; the staged files that were there are there.
        TransientError: another run has put another file in its place.
    """
    split, strikes_schema = split_array, PUBLISHED_STRIKES_SCHEMA
    with staging_lock(settings, partition), mapped(source, settings.staging_path) as document:
        while True:
            try:
                return _stage(settings, partition, source, split(document), strikes_schema)
            except UnsoundArrayError:
                split = split_document
            except _VannaFoundError:
                strikes_schema = STRIKES_SCHEMA


@contextmanager
def staging_lock(settings: Settings, partition: Partition) -> Iterator[None]:
    """Keep a partition's staged files as they are, for one run at a time.

    Raises:
        TransientError: another run kept them for ten minutes.
        DiskFullError, PermanentError: the folder cannot be written.
    """
    directory = partition.staged(settings, "snapshots").parent
    lock = FileLock(directory / f".{partition.date:%Y%m%d}.lock", timeout=LOCK_SECONDS)
    try:
        with disk_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except Timeout as error:
        raise TransientError(f"another run has been at {partition.key} for {LOCK_SECONDS:g} s; try again") from error
    try:
        yield
    finally:
        lock.release()


def _stage(
    settings: Settings,
    partition: Partition,
    source: SourceFile,
    pieces: Iterator[Piece],
    strikes_schema: pa.Schema,
) -> StagedSummary:
    intake = _Intake(partition.feed)
    targets = partition.staged(settings, "snapshots"), partition.staged(settings, "strikes")
    with ExitStack() as stack:
        paths = [stack.enter_context(publish(target)) for target in targets]
        output = stack.enter_context(_ParquetPair(paths[0], paths[1], strikes_schema))
        for piece in pieces:
            output.write(*intake.take(piece))
        quarantine = None
        if intake.bad:
            quarantine = history_quarantine_path(
                settings.quarantine_dir, partition.feed, partition.date, source.sha256
            )
            write_quarantine(quarantine, intake.bad)
        summary = intake.summary(source, quarantine, is_sorted=output.is_sorted)
        output.note(summary)
    return summary


def read_summary(path: Path) -> StagedSummary:
    """Return what staging wrote into a staged Parquet file.

    Raises:
        MalformedFileError: the file is missing or was not written by `stage`.
    """
    try:
        return msgspec.json.decode(pq.read_metadata(path).metadata[SUMMARY_KEY], type=StagedSummary)
    except (OSError, KeyError, TypeError, pa.ArrowInvalid, msgspec.DecodeError) as error:
        raise MalformedFileError(f"{path} holds no staged rows; materialize staged_snapshots first") from error


@contextmanager
def damage_told(settings: Settings, partition: Partition) -> Iterator[None]:
    """Say which staged file is damaged when that is why the block fails; every other error passes.

    Raises:
        MalformedFileError: one is; staging it again puts that right.
    """
    try:
        yield
    except (OSError, duckdb.Error, pa.ArrowException) as error:
        for path in (partition.staged(settings, "snapshots"), partition.staged(settings, "strikes")):
            try:
                pq.read_table(path)
            except (OSError, pa.ArrowException) as damage:
                raise MalformedFileError(
                    f"{path} cannot be read, {str(damage).splitlines()[0]}; materialize staged_snapshots again"
                ) from error
        raise


class _Intake:
    """Judges records: good ones into tables, bad ones aside, repeated ones counted."""

    def __init__(self, feed: Feed) -> None:
        self.bad: list[BadRecord] = []
        self._reasons: Counter[str] = Counter()
        self._feed = feed
        self._seen: dict[int, int] = {}  # by timestamp, which record of the file had it first
        self._pieces: list[tuple[int, Callable[[], Sequence[Record]]]] = []
        self._records = self._strikes = self._duplicates = self._differing = 0

    def take(self, piece: Piece) -> tuple[pa.Table, pa.Table]:
        """Read a piece in columns where that can be done, and record by record where not."""
        self._pieces.append((self._records, piece.read_records))
        snapshots, strikes = self._take_columns(piece) or self._take_each(piece)
        self._strikes += strikes.num_rows
        return snapshots, strikes

    def _take_columns(self, piece: Piece) -> tuple[pa.Table, pa.Table] | None:
        sound = [fields for fields in piece.fields if fields is not None]
        columns = read_day_columns(sound, self._feed) if 0 < len(sound) == len(piece.fields) else None
        if columns is None:
            return None
        seen = dict(zip(columns.timestamps, count(self._records), strict=False))
        if len(seen) < len(sound) or not self._seen.keys().isdisjoint(seen):
            return None
        self._seen |= seen
        self._records += len(sound)
        return columns.snapshots, columns.strikes

    def _take_each(self, piece: Piece) -> tuple[pa.Table, pa.Table]:
        columns, records = SnapshotColumns(), piece.read_records()
        for index, record in enumerate(records):
            try:
                snapshot = parse_snapshot(record)
                _require_feed(snapshot, self._feed)
            except RecordError as error:
                self._reasons[error.kind] += 1
                self.bad.append(BadRecord(self._records + index, str(error), bytes(record)))
                continue
            number = self._records + index
            earlier = self._seen.setdefault(snapshot.timestamp_ms, number)
            if earlier != number:
                self._duplicates += 1
                self._differing += bytes(self._record(earlier)) != bytes(record)
                continue
            columns.append(snapshot, self._feed)
        self._records += len(records)
        return columns.tables()

    def _record(self, number: int) -> Record:
        """Return a record of the file as it came."""
        start, read_records = self._pieces[bisect_right(self._pieces, number, key=itemgetter(0)) - 1]
        return read_records()[number - start]

    def summary(self, source: SourceFile, quarantine: Path | None, *, is_sorted: bool) -> StagedSummary:
        [(commonest, commonest_records)] = self._reasons.most_common(1) or [("", 0)]
        return StagedSummary(
            source=source.path.name,
            sha256=source.sha256,
            records=self._records,
            snapshots=len(self._seen),
            strikes=self._strikes,
            is_sorted=is_sorted,
            duplicates=self._duplicates,
            duplicates_differing=self._differing,
            bad=len(self.bad),
            examples=tuple(f"record {bad.position}: {bad.reason}" for bad in self.bad[:5]),
            quarantine=str(quarantine) if quarantine else None,
            first_ms=min(self._seen, default=None),
            last_ms=max(self._seen, default=None),
            commonest=commonest,
            commonest_records=commonest_records,
        )


class _ParquetPair:
    """Writes both files in a thread of its own, one chunk behind the parser."""

    def __init__(self, snapshots: Path, strikes: Path, strikes_schema: pa.Schema) -> None:
        self.is_sorted = True
        self._schemas = PUBLISHED_SNAPSHOTS_SCHEMA, strikes_schema
        self._writers = [
            pq.ParquetWriter(path, schema, **PARQUET_OPTIONS)
            for path, schema in zip((snapshots, strikes), self._schemas, strict=True)
        ]
        self._last: tuple[int, float] = (0, 0.0)
        self._waiting: tuple[list[pa.Table], list[pa.Table]] = ([], [])
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        for writer in self._writers:
            writer.close()

    def write(self, snapshots: pa.Table, strikes: pa.Table) -> None:
        if "vanna" not in self._schemas[1].names and strikes["vanna"].null_count < strikes.num_rows:
            raise _VannaFoundError
        self.is_sorted = self.is_sorted and self._continues(snapshots, strikes)
        snapshots = snapshots.append_column("source", pa.repeat("history", len(snapshots)))
        for waiting, table, schema in zip(self._waiting, (snapshots, strikes), self._schemas, strict=True):
            waiting.append(table.select(schema.names))
        if max(sum(table.num_rows for table in waiting) for waiting in self._waiting) >= ROW_GROUP_ROWS:
            self._flush()

    def note(self, summary: StagedSummary) -> None:
        self._flush()
        self._wait()
        for writer in self._writers:
            writer.add_key_value_metadata({SUMMARY_KEY: msgspec.json.encode(asdict(summary))})

    def _flush(self) -> None:
        self._wait()
        self._pending = self._thread.submit(self._write, self._waiting)
        self._waiting = [], []

    def _write(self, waiting: tuple[list[pa.Table], list[pa.Table]]) -> None:
        for writer, tables in zip(self._writers, waiting, strict=True):
            if sum(table.num_rows for table in tables):
                writer.write_table(pa.concat_tables(tables))

    def _continues(self, snapshots: pa.Table, strikes: pa.Table) -> bool:
        """Tell whether the order goes on, by timestamp and then by strike."""
        if len(snapshots) == 0:
            return True
        last_time, last_level = self._last
        snapshot_times, strike_times, levels = (
            np.concatenate(([last], table[name]))
            for last, table, name in (
                (last_time, snapshots, "timestamp"),
                (last_time, strikes, "timestamp"),
                (last_level, strikes, "strike"),
            )
        )
        self._last = snapshot_times[-1], levels[-1]
        steps = np.diff(strike_times)
        is_strikes_order = (steps >= 0).all() and (steps[np.diff(levels) < 0] > 0).all()
        return bool((np.diff(snapshot_times) >= 0).all() and is_strikes_order)

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()


@contextmanager
def mapped(source: SourceFile, scratch: Path) -> Iterator[mmap.mmap]:
    """Map the plain bytes of a file into memory, decompressing them to a file in `scratch` first where needed.

    Raises:
        MalformedFileError: it is empty, or no whole gzip file.
        TransientError: another file has its place by now.
        DiskFullError: there is no room.
    """
    path = source.path
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        is_known = sha256_of_open(file) == source.sha256
        plain: IO[bytes] = file
        if is_gzip(path):
            stack.enter_context(disk_errors(scratch))
            scratch.mkdir(parents=True, exist_ok=True)
            plain = stack.enter_context(tempfile.TemporaryFile(dir=scratch))
            decompress(path, plain)
            plain.flush()
        # Another run's download takes over the name: what was read under it is then not what is recorded.
        if not is_known or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise TransientError(f"{path.name} has been replaced by another file meanwhile; try again")
        if plain.seek(0, 2) == 0:
            raise MalformedFileError(f"{path.name} is empty; download it again")
        yield mmap.mmap(plain.fileno(), 0, access=mmap.ACCESS_READ)


def _require_feed(snapshot: Snapshot, feed: Feed) -> None:
    if snapshot.ticker is not None and snapshot.ticker != feed.ticker:
        raise RecordError.of("ticker", snapshot.ticker, feed.ticker)
    if snapshot.endpoint is not None and snapshot.endpoint != feed.endpoint:
        raise RecordError.of("endpoint", snapshot.endpoint, feed.endpoint)
