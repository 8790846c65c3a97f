"""Threads that read what was recorded, so few that captures do not feel them."""

import asyncio
import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from gex_pipeline.errors import FieldProblem
from gex_pipeline.settings import Settings
from webhook_gateway.bodies import problem

if TYPE_CHECKING:
    from gex_pipeline.queries.reading import SnapshotReader

THREADS = 4
MAX_WAITING = 64

Found = TypeVar("Found")


class Queries:
    """Runs what reads in threads of its own; what is needed for it is loaded there, on first use.

    Attributes:
        waiting: queries that are under way or wait for a thread.
    """

    def __init__(self, settings: Settings) -> None:
        """Start nothing yet."""
        self._settings = settings
        self._reader: SnapshotReader | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="query")
        self._opening = threading.Lock()
        self.waiting = 0

    async def run(self, read: "Callable[[SnapshotReader], Found]") -> Found:
        """Return what `read` finds.

        Raises:
            HTTPException: 503 with Retry-After when too many wait already.
        """
        if self.waiting >= MAX_WAITING:
            raise problem(
                503,
                FieldProblem("", "one query more", f"at most {MAX_WAITING} at a time"),
                headers={"Retry-After": "1"},
            )
        self.waiting += 1
        try:
            return await self.go_on(lambda: self._read(read))
        finally:
            self.waiting -= 1

    async def go_on(self, work: Callable[[], Found]) -> Found:
        """Do what is left of a query that has begun to be answered."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Take no more queries."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, read: "Callable[[SnapshotReader], Found]") -> Found:
        is_first = self._reader is None
        found = read(self._opened())
        if is_first:
            gc.freeze()  # DuckDB, Arrow and what they load with the first query stay, too
        return found

    def _opened(self) -> "SnapshotReader":
        # DuckDB is loaded here, on first use: no capture ever waits for it.
        from gex_pipeline.queries.reading import SnapshotReader  # noqa: PLC0415

        with self._opening:
            if self._reader is None:
                self._reader = SnapshotReader(self._settings)
            return self._reader
