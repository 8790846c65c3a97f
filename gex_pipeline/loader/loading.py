"""Loading: read a batch from the journal, commit its rows together with the position, archive what is done."""

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import duckdb
import zstandard

from gex_pipeline.backups.creating import ensure_recent_backup
from gex_pipeline.errors import GexError
from gex_pipeline.feeds import Feed
from gex_pipeline.journal import (
    DamagedLine,
    JournalRecord,
    archived_path,
    journal_id,
    list_archived,
    list_segments,
    read_segment,
    segment_path,
)
from gex_pipeline.loader.batch import Batch
from gex_pipeline.loader.position import Position, read_position, write_position
from gex_pipeline.settings import Settings
from gex_pipeline.storage import request_queue
from gex_pipeline.storage.files import publish
from gex_pipeline.storage.lease import lease, transaction
from gex_pipeline.storage.lineage import ImportCounts, add_to_segment, segment_import_id
from gex_pipeline.storage.quarantine import BadRecord, live_quarantine_path, write_quarantine
from gex_pipeline.storage.schema import ensure_schema, missing_schema
from gex_pipeline.storage.snapshots import insert_new

BATCH_RECORDS = 1000
# A row breaks a rule of the user's own table; a full disk or a lock is none of these.
REFUSED_ROWS = (duckdb.DataError, duckdb.IntegrityError)

# A trade that is sent again has the same id and time, so only that stretch of time is looked at.
_INSERT_TRADES = """
INSERT INTO option_trades_events BY NAME
SELECT * FROM offered_trades ANTI JOIN (
    SELECT id FROM option_trades_events WHERE executed_at
    BETWEEN (SELECT min(executed_at) FROM offered_trades) AND (SELECT max(executed_at) FROM offered_trades)
) USING (id)
QUALIFY row_number() OVER (PARTITION BY id ORDER BY received_at) = 1
"""

logger = logging.getLogger(__name__)

Records = list[JournalRecord | DamagedLine]


@dataclass
class Loader:
    """Loads one journal folder into one database, exactly once, whoever else tries to."""

    settings: Settings
    lease_timeout_seconds: float = 5.0
    position: Position | None = None
    _file: tuple[int, int] | None = field(default=None, init=False)

    def load_next(self) -> int:
        """Load the next batch and return how many journal lines it had; 0 means there is nothing to load.

        Raises:
            LeaseTimeoutError: the database stayed busy; nothing was changed, call again later.
            PermanentError: the database cannot be opened; nothing was changed.
        """
        journal_dir = self.settings.journal_dir
        journal = journal_id(journal_dir)
        if journal is None:
            return 0
        if self.position is None or self._is_replaced():
            self._back_up_before_adoption()
            self.position = self._read_position(journal)
        start, records = self._read_batch(self.position)
        if not records:
            return 0
        try:
            self._load(journal, start.segment, records)
        except REFUSED_ROWS:
            for record in records:
                self._load_alone(journal, start.segment, record)
        return len(records)

    def archive_loaded(self) -> None:
        """Compress the segments that are loaded and have a successor; the newest always stays where it is."""
        if self.position is None:
            return
        segments = list_segments(self.settings.journal_dir)
        for segment in segments[:-1]:
            if segment >= self.position.segment:
                return
            source = segment_path(self.settings.journal_dir, segment)
            if source.stat().st_size:
                with publish(archived_path(self.settings.journal_dir, segment)) as target:
                    with source.open("rb") as lines, target.open("wb") as archive:
                        zstandard.ZstdCompressor(level=3).copy_stream(lines, archive)
                    target.chmod(0o600)
            source.unlink()

    def _load(self, journal: str, segment: int, records: Records) -> None:
        batch = Batch(segment)
        for record in records:
            batch.add(record)
        self._quarantine(journal, batch)
        self._commit(journal, batch, end=Position(segment, records[-1].end))

    def _load_alone(self, journal: str, segment: int, record: JournalRecord | DamagedLine) -> None:
        """Load one record of a batch that the database refused; the one it refuses again is put aside."""
        try:
            self._load(journal, segment, [record])
        except REFUSED_ROWS as error:
            batch = Batch(segment)
            content = record.content if isinstance(record, DamagedLine) else record.body
            batch.bad.append(BadRecord(record.offset, f"the database refused it: {error}", content))
            self._quarantine(journal, batch)
            self._commit(journal, batch, end=Position(segment, record.end))

    def _quarantine(self, journal: str, batch: Batch) -> None:
        if not batch.bad:
            return
        first = batch.bad[0]
        path = live_quarantine_path(self.settings.quarantine_dir, journal, batch.segment, first.position)
        write_quarantine(path, batch.bad)
        logger.warning("%d records went to %s; the first: %s", len(batch.bad), path, first.reason)

    def _read_position(self, journal: str) -> Position:
        with self._lease("read the loader's position") as connection:
            ensure_schema(connection)
            self._file = _identity(self.settings.database_path)
            return read_position(connection, journal)

    def _is_replaced(self) -> bool:
        """Tell whether another database is there than the position was read from, such as a restored backup."""
        found = _identity(self.settings.database_path)
        return found is not None and found != self._file

    def _back_up_before_adoption(self) -> None:
        """Back a user's own file up before its first change; a backup that fails keeps no capture waiting."""
        database = self.settings.database_path
        if not database.exists() or database.stat().st_size == 0:
            return
        purpose = "see whether it has every table"
        with lease(
            database, purpose=purpose, timeout_seconds=self.lease_timeout_seconds, read_only=True
        ) as connection:
            if not missing_schema(connection):
                return
        try:
            ensure_recent_backup(
                self.settings, reason="before its first use", lease_timeout_seconds=self.lease_timeout_seconds
            )
        except (GexError, OSError) as error:
            logger.warning("going on without a backup: %s", error)

    def _read_batch(self, position: Position) -> tuple[Position, Records]:
        """Return where the next lines begin and the lines; a segment is left only when it has a successor.

        Archived segments are read as well, so a database that was lost or replaced by an older one is filled again.
        """
        journal_dir = self.settings.journal_dir
        paths = {segment: archived_path(journal_dir, segment) for segment in list_archived(journal_dir)}
        paths |= {segment: segment_path(journal_dir, segment) for segment in list_segments(journal_dir)}
        for segment in sorted(paths):
            if segment < position.segment:
                continue
            offset = position.byte_offset if segment == position.segment else 0
            lines: Iterable[JournalRecord | DamagedLine] = read_segment(
                paths[segment], offset, is_closed=segment != max(paths)
            )
            if records := list(islice(lines, BATCH_RECORDS)):
                return Position(segment, offset), records
        return position, []

    def _commit(self, journal: str, batch: Batch, *, end: Position) -> None:
        with self._lease("load captures") as connection:
            ensure_schema(connection)
            with transaction(connection):
                stored = read_position(connection, journal)
                if stored != self.position:
                    logger.warning("the database is at %s, not at %s; going on from there", stored, self.position)
                    self.position = stored
                    return
                _insert(connection, journal, batch)
                write_position(connection, journal, end)
        self.position = end

    def _lease(self, purpose: str) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return lease(self.settings.database_path, purpose=purpose, timeout_seconds=self.lease_timeout_seconds)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another under the same name; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _insert(connection: duckdb.DuckDBPyConnection, journal: str, batch: Batch) -> None:
    """Insert a batch's rows into their tables."""
    for source, columns in batch.snapshots.items():
        if not columns:
            continue
        snapshots, strikes = columns.tables()
        connection.register("offered_snapshots", snapshots)
        connection.register("offered_strikes", strikes)
        import_id = segment_import_id(connection, journal, batch.segment)
        counts = insert_new(connection, "offered_snapshots", "offered_strikes", source=source, import_id=import_id)
        repeats = ImportCounts(0, 0, batch.repeated, batch.repeated_differing)
        add_to_segment(connection, import_id, counts)
        add_to_segment(connection, import_id, repeats)
        batch.repeated = batch.repeated_differing = 0
    if batch.webhooks:
        connection.register("offered_webhooks", batch.webhooks_table())
        connection.execute("INSERT INTO universal_webhooks BY NAME FROM offered_webhooks")
    if batch.trades:
        connection.register("offered_trades", batch.trades_table())
        connection.execute(_INSERT_TRADES)
    for received_at_ms, announced in batch.announcements:
        feed = Feed(announced.ticker, announced.endpoint)
        metadata = None if bytes(announced.metadata) == b"null" else bytes(announced.metadata).decode()
        request_queue.announce(
            connection, feed, announced.date, url=announced.url, metadata=metadata, announced_at_ms=received_at_ms
        )
