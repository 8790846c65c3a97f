"""What is stored, day by day: found by a short-lived child process, and remembered for a while."""

import asyncio
import datetime as dt
import logging
from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import TransientError
from gex_pipeline.settings import Settings
from webhook_gateway.child_answer import answer_of, end

FRESH_SECONDS = 30.0
LONGEST_SECONDS = 120.0

logger = logging.getLogger(__name__)


class CoverageUnknownError(TransientError):
    """Nothing is known yet; it may be in a moment."""


class _Day(msgspec.Struct):
    """What a day is chosen by, and its last snapshot's time; the rest is passed on as it came."""

    feed: str
    date: str
    last: int | None = None


_days = msgspec.json.Decoder(list[msgspec.Raw])
_day = msgspec.json.Decoder(_Day)


@dataclass(frozen=True)
class Found:
    """What one look found.

    Attributes:
        as_of_ms: when it began, epoch milliseconds UTC.
        newest_ms: the time of the last stored snapshot, epoch milliseconds UTC, of each feed that has one.
    """

    as_of_ms: int
    newest_ms: dict[str, int]
    _days: list[tuple[str, dt.date, msgspec.Raw]]

    def days(self, feeds: Collection[str], first: dt.date, last: dt.date) -> list[msgspec.Raw]:
        """Return the days of these feeds, of all when empty, each as JSON."""
        return [raw for feed, date, raw in self._days if first <= date <= last and (not feeds or feed in feeds)]


class KnownCoverage:
    """The last answer of `python -m gex_pipeline.audit`, which one child at a time gives anew."""

    def __init__(self, settings: Settings) -> None:
        """Know nothing yet."""
        self._settings = settings
        self._found: Found | None = None
        self._looked_at: float | None = None
        self._look: asyncio.Task[None] | None = None

    async def find(self) -> Found:
        """Return what was found last.

        It is given while a new look is taken; only the first is waited for.

        Raises:
            CoverageUnknownError: there is none yet, and the child gave none.
        """
        if self._look is None or self._look.done():
            now = asyncio.get_running_loop().time()
            if self._found is None or self._looked_at is None or now - self._looked_at > FRESH_SECONDS:
                self._look = asyncio.create_task(self._refresh())
        if self._found is None and self._look is not None:
            await asyncio.shield(self._look)
        if self._found is None:
            raise CoverageUnknownError("an answer of python -m gex_pipeline.audit; the log says why there is none")
        return self._found

    async def stop(self) -> None:
        """End the child that is at work, if one is."""
        await end(self._look)

    async def _refresh(self) -> None:
        as_of_ms = epoch_ms()
        try:
            answer = await asyncio.wait_for(answer_of(self._settings, "audit"), LONGEST_SECONDS)
            self._found = await asyncio.to_thread(_read, answer, as_of_ms)
        except (OSError, TimeoutError, msgspec.MsgspecError) as error:
            logger.warning("the coverage is not known anew: %s", error or type(error).__name__)
        self._looked_at = asyncio.get_running_loop().time()


def _read(answer: bytes, as_of_ms: int) -> Found:
    decoded = [(_day.decode(raw), raw) for raw in _days.decode(answer)]
    newest_ms: dict[str, int] = {}
    for day, _ in decoded:
        if day.last is not None:
            newest_ms[day.feed] = max(day.last, newest_ms.get(day.feed, 0))
    return Found(as_of_ms, newest_ms, [(day.feed, dt.date.fromisoformat(day.date), raw) for day, raw in decoded])
