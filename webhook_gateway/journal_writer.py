"""Appending to the journal: concurrent requests share one write and one fsync, and nobody is answered before it."""

import asyncio
import errno
import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from filelock import FileLock, Timeout

from gex_pipeline.errors import JournalUnavailableError, PermanentError
from gex_pipeline.journal import journal_id, list_archived, list_segments, name_journal, segment_path
from gex_pipeline.storage.files import sync

SEGMENT_BYTES = 64 * 1024**2
SEGMENT_SECONDS = 15 * 60.0
WAITING_BYTES = 64 * 1024**2  # as much as a segment may hold; a disk that hangs must not fill the memory

_Offered = tuple[bytes, "asyncio.Future[None]"]
_END: list[_Offered] = []

logger = logging.getLogger(__name__)


class JournalWriter:
    """The one writer of a journal folder. Its methods belong to one event loop."""

    def __init__(self, journal_dir: Path) -> None:
        """Take the folder for this process and begin a segment, which closes what a killed gateway left.

        Raises:
            PermanentError: another gateway writes this journal.
        """
        journal_dir.parent.mkdir(parents=True, exist_ok=True)
        self._dir = journal_dir
        self._lock = FileLock(journal_dir / ".writer.lock")
        self._offered: list[_Offered] = []
        self._groups: SimpleQueue[list[_Offered]] = SimpleQueue()
        self._waiting_bytes = 0
        self._file: int | None = None
        self._opened_at = 0.0
        self.segment = 0
        self.size_bytes = 0
        self.last_error: str | None = None
        self._take_folder()
        with suppress(OSError):  # the first capture tries again, and is told
            self._begin_segment()
        self._thread = threading.Thread(target=self._keep_writing, name="journal", daemon=True)
        self._thread.start()

    async def append(self, line: bytes) -> None:
        """Return when the line is on the disk.

        Raises:
            JournalUnavailableError: it could not be made durable, or too much is waiting for the disk already.
        """
        if self._waiting_bytes + len(line) > WAITING_BYTES:
            raise JournalUnavailableError("the disk does not keep up")
        self._waiting_bytes += len(line)
        loop = asyncio.get_running_loop()
        written = loop.create_future()
        if not self._offered:
            loop.call_soon(self._hand_over)
        self._offered.append((line, written))
        await written

    async def close(self) -> None:
        """Finish what is waiting and give the folder back."""
        self._hand_over()
        self._groups.put(_END)
        await asyncio.to_thread(self._thread.join)
        self._close_segment()
        self._lock.release()

    def _hand_over(self) -> None:
        """Give the writing thread all that was offered in this turn of the event loop."""
        group, self._offered = self._offered, []
        if group:
            self._groups.put(group)

    def _keep_writing(self) -> None:
        """Write group after group, in a thread of its own, until the end."""
        while group := self._next_group():
            error: Exception | None = None
            try:
                self._write([line for line, _ in group])
            except Exception as failure:  # noqa: BLE001 - whatever it is, nobody may wait for ever
                error = failure
            group[0][1].get_loop().call_soon_threadsafe(self._settle, group, error)

    def _next_group(self) -> list[_Offered]:
        """Return what was handed over during the last fsync, or wait for it; nothing at the end."""
        group = self._groups.get()
        while group and not self._groups.empty():
            more = self._groups.get()
            if not more:
                self._groups.put(_END)  # once this group is written
                break
            group += more
        return group

    def _settle(self, group: list[_Offered], error: Exception | None) -> None:
        """Tell everybody who waits for a group what became of it."""
        self._waiting_bytes -= sum(len(line) for line, _ in group)
        waiting = [written for _, written in group if not written.done()]  # who has left has cancelled its own
        if error is None:
            if self.last_error is not None:
                logger.info("the journal can be written again")
            self.last_error = None
            for written in waiting:
                written.set_result(None)
            return
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        if self.last_error is None:
            logger.error("the journal cannot be written, captures are refused: %s", reason)
        self.last_error = reason
        for written in waiting:
            written.set_exception(JournalUnavailableError(f"the journal cannot be written: {reason}"))

    def _write(self, lines: list[bytes]) -> None:
        """Append and sync a group; on any error leave the segment without it and begin a new one next time."""
        data = b"".join(lines)
        file = self._segment_for(len(data))
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            os.fdatasync(file)
            self._require_in_place(file)
        except OSError:
            # After a failed fsync nobody knows what the disk holds, so this file is never appended to again.
            with suppress(OSError):
                os.ftruncate(file, self.size_bytes)
            self._close_segment()
            raise
        self.size_bytes += len(data)

    def _segment_for(self, more_bytes: int) -> int:
        """Return the open segment, beginning a new one when it is full or old."""
        if self._file is not None and not self._is_in_place(self._file):
            logger.error(
                "segment %d of the journal %s is gone: what was not loaded of it is lost", self.segment, self._dir
            )
            self._close_segment()
        if self._file is not None and self.size_bytes:
            is_full = self.size_bytes + more_bytes > SEGMENT_BYTES
            if is_full or time.monotonic() - self._opened_at > SEGMENT_SECONDS:
                self._close_segment()
        if self._file is None and journal_id(self._dir) is None:
            self._take_folder()
        return self._begin_segment() if self._file is None else self._file

    def _is_in_place(self, file: int) -> bool:
        """Tell whether the open segment is the file of its name; appending to a deleted one would keep nothing."""
        try:
            return os.path.samestat(os.fstat(file), segment_path(self._dir, self.segment).stat())
        except FileNotFoundError:
            return False

    def _require_in_place(self, file: int) -> None:
        if not self._is_in_place(file):
            raise OSError(errno.ENOENT, "it was taken away while it was written")

    def _take_folder(self) -> None:
        """Make the folder this process's own; one without any segment gets a new name, as its numbers begin anew."""
        self._dir.mkdir(exist_ok=True)
        self._dir.chmod(0o700)  # bodies hold signed links
        self._lock.release()
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise PermanentError(f"another gateway is writing the journal {self._dir}; stop it first") from error
        self.segment = max([*list_segments(self._dir), *list_archived(self._dir)], default=0)
        if self.segment == 0:
            (self._dir / "journal.id").unlink(missing_ok=True)
        name_journal(self._dir)

    def _begin_segment(self) -> int:
        """Open the next segment; a number is used up only by a file, so that one that is gone is missed."""
        path = segment_path(self._dir, self.segment + 1)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._file = file
        self.segment += 1
        self.size_bytes = 0
        self._opened_at = time.monotonic()
        try:
            sync(self._dir)
        except OSError:
            # A segment whose name may be lost is not used.
            self._close_segment()
            raise
        return file

    def _close_segment(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # what was answered is synced, whatever closing says
                os.close(file)
