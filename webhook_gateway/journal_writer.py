"""Appending to the journal: concurrent requests share one write and one fsync, and nobody is answered before it."""

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from gex_pipeline.errors import JournalUnavailableError, PermanentError
from gex_pipeline.journal import list_archived, list_segments, name_journal, segment_path
from gex_pipeline.storage.files import sync

SEGMENT_BYTES = 64 * 1024**2
SEGMENT_SECONDS = 15 * 60.0

logger = logging.getLogger(__name__)


class JournalWriter:
    """The one writer of a journal folder. Its methods belong to one event loop."""

    def __init__(self, journal_dir: Path) -> None:
        """Take the folder for this process; nothing is opened yet.

        Raises:
            PermanentError: another gateway writes this journal.
        """
        journal_dir.mkdir(parents=True, exist_ok=True)
        journal_dir.chmod(0o700)  # bodies hold signed links
        self._dir = journal_dir
        self._lock = FileLock(journal_dir / ".writer.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise PermanentError(f"another gateway is writing the journal {journal_dir}; stop it first") from error
        name_journal(journal_dir)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._file: int | None = None
        self._opened_at = 0.0
        self._waiting: list[bytes] = []
        self._written: asyncio.Future[None] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self.segment = max([*list_segments(journal_dir), *list_archived(journal_dir)], default=0)
        self.size_bytes = 0
        self.last_error: str | None = None

    async def append(self, line: bytes) -> None:
        """Return when the line is on the disk.

        Raises:
            JournalUnavailableError: it could not be made durable.
        """
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
        written = self._written
        self._waiting.append(line)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await asyncio.shield(written)

    async def close(self) -> None:
        """Finish what is waiting and give the folder back."""
        if self._flushing is not None:
            await self._flushing
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close_segment)
        self._thread.shutdown()
        self._lock.release()

    async def _flush(self) -> None:
        """Write group after group until nobody waits; what arrives during one fsync shares the next."""
        loop = asyncio.get_running_loop()
        while self._waiting and self._written is not None:
            lines, written = self._waiting, self._written
            self._waiting, self._written = [], None
            try:
                await loop.run_in_executor(self._thread, self._write, lines)
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
                reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
                if self.last_error is None:
                    logger.error("the journal cannot be written, captures are refused: %s", reason)  # noqa: TRY400 - the reason says it all
                self.last_error = reason
                written.set_exception(JournalUnavailableError(f"the journal cannot be written: {self.last_error}"))
                written.exception()
            else:
                if self.last_error is not None:
                    logger.info("the journal can be written again")
                self.last_error = None
                written.set_result(None)
        self._flushing = None

    def _write(self, lines: list[bytes]) -> None:
        """Append and sync a group; on any error leave the segment without it and begin a new one next time."""
        data = b"".join(lines)
        file = self._segment_for(len(data))
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            os.fdatasync(file)
        except OSError:
            # After a failed fsync nobody knows what the disk holds, so this file is never appended to again.
            with suppress(OSError):
                os.ftruncate(file, self.size_bytes)
            self._close_segment()
            raise
        self.size_bytes += len(data)

    def _segment_for(self, more_bytes: int) -> int:
        """Return the open segment, beginning a new one when it is full or old."""
        now = time.monotonic()
        if self._file is not None and self.size_bytes:
            is_full = self.size_bytes + more_bytes > SEGMENT_BYTES
            if is_full or now - self._opened_at > SEGMENT_SECONDS:
                self._close_segment()
        if self._file is None:
            self.segment += 1
            path = segment_path(self._dir, self.segment)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self.size_bytes = 0
            self._opened_at = now
            try:
                sync(self._dir)
            except OSError:
                # A segment whose name may be lost is not used.
                self._close_segment()
                raise
        return self._file

    def _close_segment(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # what was answered is synced, whatever closing says
                os.close(file)
