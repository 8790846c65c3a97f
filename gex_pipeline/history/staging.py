"""Staging: one history file parsed into two Parquet files in bounded memory, bad records to quarantine."""

import mmap
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from gex_pipeline.errors import MalformedFileError, RecordError
from gex_pipeline.feeds import Feed
from gex_pipeline.formats.columns import SNAPSHOTS_SCHEMA, STRIKES_SCHEMA, SnapshotColumns
from gex_pipeline.formats.gexbot import Snapshot, parse_snapshot
from gex_pipeline.formats.history_file import decompress, is_gzip, split_records
from gex_pipeline.history.download import SourceFile
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import publish
from gex_pipeline.storage.quarantine import BadRecord, history_quarantine_path, write_quarantine

CHUNK_SNAPSHOTS = 1200
LOCK_SECONDS = 600.0
SUMMARY_KEY = b"gex_pipeline.staged"


@dataclass(frozen=True)
class StagedSummary:
    """What staging found; it travels inside both Parquet files.

    Attributes:
        source: file name of the history file.
        sha256: of its bytes.
        records: in the file, good and bad.
        snapshots: staged, each timestamp once.
        strikes: staged.
        duplicates: records with a timestamp that an earlier record had.
        duplicates_differing: those of them whose text was not the same; the first stays.
        bad: records that could not be understood.
        examples: up to five `position: reason` of bad records.
        quarantine: path of the file with all of them, None when there are none.
        first_ms: earliest timestamp, epoch milliseconds UTC; None without snapshots.
        last_ms: latest timestamp.
    """

    source: str
    sha256: str
    records: int
    snapshots: int
    strikes: int
    duplicates: int
    duplicates_differing: int
    bad: int
    examples: tuple[str, ...]
    quarantine: str | None
    first_ms: int | None
    last_ms: int | None


def stage(settings: Settings, partition: Partition, source: SourceFile) -> StagedSummary:
    """Parse a history file into the partition's two staged Parquet files.

    Raises:
        MalformedFileError: it is not a whole document of snapshots; nothing is staged.
    """
    with staging_lock(settings, partition):
        return _stage(settings, partition, source)


def staging_lock(settings: Settings, partition: Partition) -> FileLock:
    """Return the lock that keeps a partition's staged files as they are, for one run at a time."""
    directory = partition.staged(settings, "snapshots").parent
    directory.mkdir(parents=True, exist_ok=True)
    return FileLock(directory / f".{partition.date:%Y%m%d}.lock", timeout=LOCK_SECONDS)


def _stage(settings: Settings, partition: Partition, source: SourceFile) -> StagedSummary:
    intake = _Intake(partition.feed)
    targets = partition.staged(settings, "snapshots"), partition.staged(settings, "strikes")
    with ExitStack() as stack:
        document = stack.enter_context(_mapped(source.path, settings.staging_path))
        snapshots_path, strikes_path = (stack.enter_context(publish(target)) for target in targets)
        with _ParquetPair(snapshots_path, strikes_path) as output:
            for record in split_records(document):
                intake.take(record)
                if len(intake.columns) == CHUNK_SNAPSHOTS:
                    output.write(*intake.drain())
            output.write(*intake.drain())
            quarantine = None
            if intake.bad:
                quarantine = history_quarantine_path(
                    settings.quarantine_dir, partition.feed, partition.date, source.sha256
                )
                write_quarantine(quarantine, intake.bad)
            summary = intake.summary(source, quarantine)
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


class _Intake:
    """Judges records one by one: good ones into columns, bad ones aside, repeated ones counted."""

    def __init__(self, feed: Feed) -> None:
        self.columns = SnapshotColumns()
        self.bad: list[BadRecord] = []
        self._feed = feed
        self._seen: dict[int, int] = {}
        self._records = self._strikes = self._duplicates = self._differing = 0

    def take(self, record: msgspec.Raw | memoryview) -> None:
        position = self._records
        self._records += 1
        try:
            snapshot = parse_snapshot(record)
            _require_feed(snapshot, self._feed)
        except RecordError as error:
            self.bad.append(BadRecord(position, str(error), bytes(record)))
            return
        content = hash(bytes(record))
        if (earlier := self._seen.setdefault(snapshot.timestamp_ms, content)) is not content:
            self._duplicates += 1
            self._differing += earlier != content
            return
        self.columns.append(snapshot, self._feed)

    def drain(self) -> tuple[pa.Table, pa.Table]:
        snapshots, strikes = self.columns.tables()
        self.columns.clear()
        self._strikes += strikes.num_rows
        return snapshots, strikes

    def summary(self, source: SourceFile, quarantine: Path | None) -> StagedSummary:
        return StagedSummary(
            source=source.path.name,
            sha256=source.sha256,
            records=self._records,
            snapshots=len(self._seen),
            strikes=self._strikes,
            duplicates=self._duplicates,
            duplicates_differing=self._differing,
            bad=len(self.bad),
            examples=tuple(f"record {bad.position}: {bad.reason}" for bad in self.bad[:5]),
            quarantine=str(quarantine) if quarantine else None,
            first_ms=min(self._seen, default=None),
            last_ms=max(self._seen, default=None),
        )


class _ParquetPair:
    """Writes both files in a thread of its own, one chunk behind the parser."""

    def __init__(self, snapshots: Path, strikes: Path) -> None:
        self._writers = [
            pq.ParquetWriter(path, schema, compression="zstd", compression_level=1)
            for path, schema in ((snapshots, SNAPSHOTS_SCHEMA), (strikes, STRIKES_SCHEMA))
        ]
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        for writer in self._writers:
            writer.close()

    def write(self, snapshots: pa.Table, strikes: pa.Table) -> None:
        self._wait()
        self._pending = self._thread.submit(self._write, snapshots, strikes)

    def note(self, summary: StagedSummary) -> None:
        self._wait()
        for writer in self._writers:
            writer.add_key_value_metadata({SUMMARY_KEY: msgspec.json.encode(asdict(summary))})

    def _write(self, *tables: pa.Table) -> None:
        for writer, table in zip(self._writers, tables, strict=True):
            if table.num_rows:
                writer.write_table(table)

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()


@contextmanager
def _mapped(path: Path, scratch: Path) -> Iterator[memoryview]:
    """Map the plain bytes of a file into memory, decompressing them to a scratch file first where needed."""
    with ExitStack() as stack:
        plain: IO[bytes]
        if is_gzip(path):
            scratch.mkdir(parents=True, exist_ok=True)
            plain = stack.enter_context(tempfile.TemporaryFile(dir=scratch))
            decompress(path, plain)
            plain.flush()
        else:
            plain = stack.enter_context(path.open("rb"))
        if plain.seek(0, 2) == 0:
            raise MalformedFileError(f"{path.name} is empty; download it again")
        document = mmap.mmap(plain.fileno(), 0, access=mmap.ACCESS_READ)
        yield memoryview(document)


def _require_feed(snapshot: Snapshot, feed: Feed) -> None:
    if snapshot.ticker is not None and snapshot.ticker != feed.ticker:
        raise RecordError.of("ticker", snapshot.ticker, feed.ticker)
    if snapshot.endpoint is not None and snapshot.endpoint != feed.endpoint:
        raise RecordError.of("endpoint", snapshot.endpoint, feed.endpoint)
