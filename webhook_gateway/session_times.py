"""When the exchange opens and closes: found by a short-lived child process, as the calendar brings Pandas with it."""

import asyncio
import logging

import msgspec

from gex_pipeline.clock import epoch_ms
from gex_pipeline.settings import Settings
from webhook_gateway.child_answer import answer_of, end

LONGEST_SECONDS = 60.0
PAUSE_SECONDS = 60.0  # after a child that gave no answer

Sessions = list[tuple[int, int]]

logger = logging.getLogger(__name__)


class SessionTimes:
    """The last answer of `python -m gex_pipeline.session_times`, good until the last session in it has closed."""

    def __init__(self, settings: Settings) -> None:
        """Know nothing yet."""
        self._settings = settings
        self._sessions: Sessions = []
        self._look: asyncio.Task[None] | None = None
        self._looked_at: float | None = None

    async def find(self) -> Sessions:
        """Return open and close of sessions (epoch ms UTC), one that is over first; none when they are not known."""
        if not self._sessions or self._sessions[-1][1] <= epoch_ms():
            now = asyncio.get_running_loop().time()
            is_due = self._looked_at is None or now - self._looked_at > PAUSE_SECONDS
            if is_due and (self._look is None or self._look.done()):
                self._looked_at = now
                self._look = asyncio.create_task(self._refresh())
            if self._look is not None:
                await asyncio.shield(self._look)
        return self._sessions

    async def stop(self) -> None:
        """End the child that is at work, if one is."""
        await end(self._look)

    async def _refresh(self) -> None:
        try:
            answer = await asyncio.wait_for(answer_of(self._settings, "session_times"), LONGEST_SECONDS)
            self._sessions = msgspec.json.decode(answer, type=Sessions)
        except (OSError, TimeoutError, msgspec.MsgspecError) as error:
            logger.warning("when the exchange opens is not known: %s", error or type(error).__name__)
