"""Who is sent new snapshots as they come: each at his own pace, none at the expense of captures."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from gex_pipeline.feeds import Feed
from webhook_gateway.latest import Held

MAX_LISTENERS = 32


class Listener:
    """One reader of a stream: of each feed the newest snapshot he was not sent yet, so a slow one misses some."""

    def __init__(self, feeds: frozenset[Feed]) -> None:
        """Listen to these feeds, to all when there are none."""
        self._feeds = feeds
        self._waiting: dict[Feed, Held] = {}
        self._is_waiting = asyncio.Event()

    def offer(self, feed: Feed, held: Held) -> None:
        """Have a snapshot sent, in the place of one of its feed that was not sent yet."""
        if not self._feeds or feed in self._feeds:
            self._waiting[feed] = held
            self._is_waiting.set()

    def wake(self) -> None:
        """Let `take` return although there is nothing."""
        self._is_waiting.set()

    async def take(self, patience_seconds: float) -> dict[Feed, Held]:
        """Wait for snapshots and take them; nothing when none came for so long."""
        try:
            async with asyncio.timeout(patience_seconds):
                await self._is_waiting.wait()
        except TimeoutError:
            return {}
        self._is_waiting.clear()
        taken, self._waiting = self._waiting, {}
        return taken


class Streams:
    """All listeners, at most MAX_LISTENERS.

    Attributes:
        is_closed: whether everybody was told to end, and nobody may begin.
    """

    def __init__(self) -> None:
        """Have no listener yet."""
        self.is_closed = False
        self._listeners: set[Listener] = set()

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another listener."""
        return self.listeners >= MAX_LISTENERS

    @contextmanager
    def joined(self, feeds: Iterable[Feed]) -> Iterator[Listener]:
        """Listen to these feeds, to all when there are none, for the length of a block."""
        listener = Listener(frozenset(feeds))
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def offer(self, feed: Feed, held: Held) -> None:
        """Have a snapshot sent to all who listen to its feed; it is encoded when the first of them takes it."""
        for listener in self._listeners:
            listener.offer(feed, held)

    def close(self) -> None:
        """Let every stream end where it is."""
        self.is_closed = True
        for listener in self._listeners:
            listener.wake()
