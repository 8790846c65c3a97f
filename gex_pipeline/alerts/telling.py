"""Who is told what and when: a decision over what was found and what was told before."""

from typing import NamedTuple

import msgspec

from gex_pipeline.alerts.conditions import CONDITIONS, Findings

# After an alert, its condition is not told again for so long; that it is over is told at once.
QUIET_MS = 15 * 60_000
FORGOTTEN_MS = 7 * 24 * 60 * 60_000


class Standing(msgspec.Struct, frozen=True):
    """What operators know of one condition. Times are epoch milliseconds UTC.

    Attributes:
        is_told: they were told of it, and not that it is over.
        told_at_ms: when they were told of it last; None: never.
        differs_since_ms: since when what is found has differed from what they know; None: it does not.
    """

    is_told: bool = False
    told_at_ms: int | None = None
    differs_since_ms: int | None = None


class News(NamedTuple):
    """One thing to tell: why a condition is there, or None when it is over."""

    key: str
    reason: str | None


def decide(standings: dict[str, Standing], findings: Findings, now_ms: int) -> tuple[list[News], dict[str, Standing]]:
    """Return what is to be told now, and what operators know then.

    A condition is told once and once more when it is over, each after it has held, and again no sooner than
    QUIET_MS after it was told before. What could not be judged stays as it was told, and its time begins anew.
    """
    news: list[News] = []
    after: dict[str, Standing] = {}
    for key in sorted(standings.keys() | findings.keys()):
        before = standings.get(key, Standing())
        differs = key in findings and (findings[key] is not None) != before.is_told
        # A clock that was set back must not keep anybody waiting for longer than the rule says.
        told_at_ms = None if before.told_at_ms is None else min(before.told_at_ms, now_ms)
        since_ms = min(before.differs_since_ms or now_ms, now_ms) if differs else None
        standing = Standing(before.is_told, told_at_ms, since_ms)
        if since_ms is not None and _is_due(key, standing, since_ms, now_ms):
            reason = findings[key]
            news.append(News(key, reason))
            standing = Standing(reason is not None, told_at_ms if reason is None else now_ms)
        if not _is_forgotten(standing, now_ms, is_judged=key in findings):
            after[key] = standing
    return news, after


def condition_of(key: str) -> str:
    """Return the name of the condition that a key is about."""
    return key.partition(" ")[0]


def _is_due(key: str, standing: Standing, since_ms: int, now_ms: int) -> bool:
    has_held = now_ms - since_ms >= CONDITIONS[condition_of(key)].hold_seconds * 1000
    is_quiet = not standing.is_told and standing.told_at_ms is not None and now_ms - standing.told_at_ms < QUIET_MS
    return has_held and not is_quiet


def _is_forgotten(standing: Standing, now_ms: int, *, is_judged: bool) -> bool:
    """Tell whether nothing has to be remembered: nobody was told, or too long ago of what is seen no more."""
    if standing.told_at_ms is None:
        return standing.differs_since_ms is None
    is_old = now_ms - standing.told_at_ms >= (FORGOTTEN_MS if standing.is_told else QUIET_MS)
    return is_old and standing.differs_since_ms is None and not (standing.is_told and is_judged)
