"""Loading: read a batch from the journal, commit its rows together with the position, archive what is done."""

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from gex_pipeline.backups.creating import ensure_recent_backup
from gex_pipeline.errors import GexError
from gex_pipeline.feeds import Feed
from gex_pipeline.journal import DamagedLine, archived_path, journal_id, list_segments, segment_path
from gex_pipeline.loader.archive import compress_segment
from gex_pipeline.loader.attempts import Attempt, at_work, fewer, take_left_behind
from gex_pipeline.loader.batch import Batch
from gex_pipeline.loader.position import Position, read_position, write_position
from gex_pipeline.loader.reading import Piece, read_behind, read_next
from gex_pipeline.loader.status import Loaded
from gex_pipeline.settings import Settings
from gex_pipeline.storage import request_queue
from gex_pipeline.storage.files import publish
from gex_pipeline.storage.lease import fetch_row, lease, transaction
from gex_pipeline.storage.lineage import ImportCounts, add_to_segment, note_segment_errors, segment_import_id
from gex_pipeline.storage.quarantine import BadRecord, live_quarantine_path, write_quarantine
from gex_pipeline.storage.schema import ensure_schema, missing_schema
from gex_pipeline.storage.snapshots import insert_new

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


class _RefusedError(Exception):
    """The database refused a row of a piece."""

    def __init__(self, piece: Piece, error: Exception) -> None:
        super().__init__(str(error))
        self.piece = piece


@dataclass
class Loader:
    """Loads one journal folder into one database, exactly once, whoever else tries to.

    Attributes:
        is_behind: whether the last batch was ended by a limit, so that more may be there already.
        loaded: what was committed so far.
    """

    settings: Settings
    lease_timeout_seconds: float = 5.0
    position: Position | None = None
    is_behind: bool = False
    loaded: Loaded = field(default_factory=Loaded)
    _journal: str | None = field(default=None, init=False)
    _file: tuple[int, int] | None = field(default=None, init=False)
    # Runs of records that failed as a whole, each within the one before it.
    _failed: list[Attempt] = field(default_factory=list, init=False)

    def load_next(self) -> int:
        """Load the next batch and return how many journal lines it had; 0 means there is nothing to load.

        Raises:
            LeaseTimeoutError: the database stayed busy; nothing was changed, call again later.
            PermanentError: the database cannot be opened, or the journal is not the one that was loaded; likewise.
            MemoryError: there is not enough; let the process end; the next one goes on with fewer records.
        """
        self.is_behind = False
        journal_dir = self.settings.journal_dir
        journal = journal_id(journal_dir)
        if journal is None:
            return 0
        if self._journal not in {None, journal}:
            logger.error(
                "the journal %s is another one than before; what was not loaded of that is gone", journal_dir
            )
            self.position = None
        if self.position is None or self._is_replaced():
            self._back_up_before_adoption()
            self.position = self._read_position(journal)
            self._journal = journal
            left = take_left_behind(journal_dir, journal)
            self._failed = [left] if left else []
        piece = read_next(journal_dir, self.position)
        if piece is None:
            return 0
        try:
            piece = self._load(journal, self._fewer_where_many_failed(piece))
        except _RefusedError as refused:
            piece = refused.piece
            if len(piece.records) == 1:
                self._put_aside(journal, piece, f"the database refused it: {refused}")
            else:
                self._failed.append(_attempt(journal, piece))
                return self.load_next()
        except duckdb.OutOfMemoryException as error:
            raise MemoryError(str(error)) from error
        self.is_behind = piece.is_limited
        return len(piece.records)

    def archive_loaded(self) -> None:
        """Compress the segments that are loaded and have a successor; the newest always stays where it is."""
        if self.position is None:
            return
        segments = list_segments(self.settings.journal_dir)
        for segment in segments[:-1]:
            if segment >= self.position.segment:
                return
            source = segment_path(self.settings.journal_dir, segment)
            with publish(archived_path(self.settings.journal_dir, segment)) as target:
                with source.open("rb") as lines, target.open("wb") as archive:
                    compress_segment(lines, archive)
                target.chmod(0o600)
            source.unlink()

    def _fewer_where_many_failed(self, piece: Piece) -> Piece:
        while self._failed and not self._failed[-1].holds(piece.start):
            self._failed.pop()
        return piece.first(fewer(self._failed[-1].records)) if self._failed else piece

    def _load(self, journal: str, piece: Piece) -> Piece:
        """Load a piece, with what was captured while the database was waited for, and return both as one."""
        attempt = _attempt(journal, piece)
        if self._failed and self._failed[-1].begin == attempt.begin and self._failed[-1].end == attempt.end:
            attempt = self._failed[-1]
        if attempt.is_fatal:
            self._put_aside(journal, piece, f"the loader died of it {attempt.deaths} times")
            return piece
        batch = Batch(piece.start.segment)
        self._transform(batch, piece, attempt)
        try:
            with self._lease("load captures") as connection:
                if not self._failed and (later := read_behind(self.settings.journal_dir, piece)):
                    piece = piece.followed_by(later)
                    attempt = _attempt(journal, piece)
                    self._transform(batch, later, attempt)
                self._commit(connection, journal, batch, piece, attempt)
        except REFUSED_ROWS as error:
            raise _RefusedError(piece, error) from error
        return piece

    def _transform(self, batch: Batch, piece: Piece, attempt: Attempt) -> None:
        with at_work(self.settings.journal_dir, attempt):
            for record in piece.records:
                batch.add(record)

    def _put_aside(self, journal: str, piece: Piece, reason: str) -> None:
        """Keep a single record in quarantine and go on behind it."""
        [record] = piece.records
        batch = Batch(piece.start.segment)
        content = record.content if isinstance(record, DamagedLine) else record.body
        batch.bad.append(BadRecord(record.offset, reason, content))
        with self._lease("load captures") as connection:
            self._commit(connection, journal, batch, piece, _attempt(journal, piece))

    def _quarantine(self, journal: str, batch: Batch) -> str | None:
        """Keep what cannot be loaded and return a sentence about it, None when all can."""
        if not batch.bad:
            return None
        first = batch.bad[0]
        path = live_quarantine_path(self.settings.quarantine_dir, journal, batch.segment, first.position)
        write_quarantine(path, batch.bad)
        what = f"{len(batch.bad)} records" if len(batch.bad) > 1 else "1 record"
        said = f"{what} of segment {batch.segment} went to {path}; the first: {first.reason}"
        logger.warning("%s", said)
        return said

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

    def _commit(
        self, connection: duckdb.DuckDBPyConnection, journal: str, batch: Batch, piece: Piece, attempt: Attempt
    ) -> None:
        with at_work(self.settings.journal_dir, attempt):
            ensure_schema(connection)
            with transaction(connection):
                stored = read_position(connection, journal)
                if stored != self.position:
                    logger.warning("the database is at %s, not at %s; going on from there", stored, self.position)
                    self.position = stored
                    return
                inserted = _insert(connection, journal, batch)
                if kept := self._quarantine(journal, batch):
                    import_id = segment_import_id(connection, journal, batch.segment)
                    note_segment_errors(connection, import_id, kept, is_missing=piece.is_missing)
                write_position(connection, journal, piece.end)
        self.position = piece.end
        self.loaded.add(inserted)

    def _lease(self, purpose: str) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return lease(self.settings.database_path, purpose=purpose, timeout_seconds=self.lease_timeout_seconds)


def _attempt(journal: str, piece: Piece) -> Attempt:
    records = piece.records
    return Attempt(journal, piece.start.segment, records[0].offset, records[-1].end, len(records))


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another under the same name; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _insert(connection: duckdb.DuckDBPyConnection, journal: str, batch: Batch) -> Loaded:
    """Insert a batch's rows into their tables and return what that did."""
    done = Loaded(newest_ms=batch.newest_ms())
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
        done.rows["gex_snapshots"] += counts.snapshots
        done.rows["gex_strikes"] += counts.strikes
        differing = counts.differing + repeats.differing
        done.conflicts += differing
        done.duplicates["gex_snapshots"] += counts.present + repeats.present - differing
        batch.repeated = batch.repeated_differing = 0
    if batch.webhooks:
        connection.register("offered_webhooks", batch.webhooks_table())
        connection.execute("INSERT INTO universal_webhooks BY NAME FROM offered_webhooks")
        done.rows["universal_webhooks"] = len(batch.webhooks)
    if batch.trades:
        connection.register("offered_trades", batch.trades_table())
        inserted = fetch_row(connection, _INSERT_TRADES)
        done.rows["option_trades_events"] = int(inserted[0]) if inserted else 0
        done.duplicates["option_trades_events"] = len(batch.trades) - done.rows["option_trades_events"]
    for received_at_ms, announced in batch.announcements:
        feed = Feed(announced.ticker, announced.endpoint)
        metadata = None if bytes(announced.metadata) == b"null" else bytes(announced.metadata).decode()
        request_queue.announce(
            connection, feed, announced.date, url=announced.url, metadata=metadata, announced_at_ms=received_at_ms
        )
    done.rows["gex_history_queue"] = len(batch.announcements)
    return done
