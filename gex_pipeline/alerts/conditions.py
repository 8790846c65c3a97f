"""What operators are told of, and how it is found in what was observed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gex_pipeline.settings import Settings
from gex_pipeline.trading_days import new_york_time

# By the key of a condition, `loader` or `silent_feed SPX:gex_zero`: why it is there, None when it is not.
# A condition that could not be judged has no entry.
Findings = dict[str, str | None]

# Records that went to quarantine are news for so long.
QUARANTINE_MS = 10 * 60_000


@dataclass(frozen=True)
class Condition:
    """One thing that operators are told of.

    Attributes:
        hold_seconds: it has to be there, or to be over, for so long before anybody is told; what ends by itself
            sooner, as a process that is started again, is no news.
    """

    title: str
    over: str
    to_do: str
    hold_seconds: float = 0.0


CONDITIONS = {
    "gateway": Condition(
        "the gateway does not answer",
        "the gateway answers again",
        "Nothing is captured. Start it again, or kill it when it hangs; its log says what it did last.",
        hold_seconds=30.0,
    ),
    "journal": Condition(
        "captures are refused",
        "captures are taken again",
        "Clients are told to try again. Make the disk of data/journal writable, or free space on it.",
    ),
    "disk": Condition(
        "the disk is nearly full",
        "there is room on the disk again",
        "Free space, or move the data to a larger disk, before captures have to be refused.",
    ),
    "loader": Condition(
        "captures are not being loaded",
        "captures are being loaded again",
        "They are safe in data/journal and are loaded later. Close the program that has the database open, or see "
        "the loader's log.",
        hold_seconds=15.0,
    ),
    "backlog": Condition(
        "captures wait long to be loaded",
        "captures are loaded in time again",
        "They are safe in data/journal. Readers see old data until the loader has caught up; see what holds it up.",
    ),
    "quarantine": Condition(
        "records went to quarantine",
        "no more records go to quarantine",
        "They are kept in data/quarantine, each with its reason, and not loaded. Look for what sends them.",
    ),
    "silent_feed": Condition(
        "a feed is silent during the session",
        "the feed sends again",
        "See whether its sender runs: the browser page is open and logged in, the script or the poller is up.",
    ),
}


@dataclass(frozen=True)
class Observation:
    """What was seen at one moment. Times are epoch milliseconds UTC.

    Attributes:
        ready: the checks of `/ready`, or why there was no answer.
        taking_since_ms: since when the gateway has answered and taken captures, as far as is known.
        quarantined: how many quarantine files were written in the last QUARANTINE_MS.
        last_seen_ms: by feed, when it sent last.
        session_opened_ms: when the session that is on was opened; None while none is.
        recent_since_ms: the beginning of the trading day before; who has not sent since then is not expected.
    """

    now_ms: int
    ready: dict[str, Any] | str
    taking_since_ms: int
    quarantined: int
    last_seen_ms: dict[str, int]
    session_opened_ms: int | None
    recent_since_ms: int

    @property
    def is_taking(self) -> bool:
        """Whether the gateway answers and takes captures."""
        return not isinstance(self.ready, str) and bool(self.ready["journal"]["ok"])


def find(seen: Observation, settings: Settings) -> Findings:
    """Say of each condition that can be judged whether it is there, and why."""
    minutes = QUARANTINE_MS // 60_000
    quarantined = f"{seen.quarantined} new files of them in {minutes} minutes" if seen.quarantined else None
    findings: Findings = {"quarantine": quarantined}
    if isinstance(seen.ready, str):
        return findings | {"gateway": seen.ready}
    findings |= {"gateway": None, **_from_checks(seen.ready, settings)}
    if seen.is_taking and settings.silent_feed_minutes:
        findings |= dict(_silent_feeds(seen, round(settings.silent_feed_minutes * 60_000)))
    return findings


def _from_checks(checks: dict[str, Any], settings: Settings) -> Findings:
    age_minutes = checks["backlog"]["age_seconds"] / 60
    waiting_bytes, free_bytes = checks["backlog"]["bytes"], checks["disk"]["free_bytes"]
    is_late = waiting_bytes and age_minutes >= settings.backlog_minutes
    return {
        "journal": _why_not_ok(checks["journal"], "the journal cannot be written"),
        "loader": _why_not_ok(checks["loader"], "the loader does not run, or has not been heard of"),
        "backlog": f"{waiting_bytes:,} bytes, the oldest for {age_minutes:.1f} minutes" if is_late else None,
        "disk": f"{free_bytes:,} bytes are free" if free_bytes < settings.disk_low_gb * 1e9 else None,
    }


def _why_not_ok(check: dict[str, Any], otherwise: str) -> str | None:
    return None if check["ok"] else str(check["error"] or otherwise)


def _silent_feeds(seen: Observation, limit_ms: int) -> Iterator[tuple[str, str | None]]:
    for feed, last_ms in seen.last_seen_ms.items():
        key = f"silent_feed {feed}"
        if seen.now_ms - last_ms < limit_ms:
            yield key, None
        elif seen.session_opened_ms is not None and last_ms >= seen.recent_since_ms:
            silent_since_ms = max(last_ms, seen.session_opened_ms, seen.taking_since_ms)
            if seen.now_ms - silent_since_ms >= limit_ms:
                yield key, f"{feed} sent last on {new_york_time(last_ms):%Y-%m-%d at %H:%M:%S} New York"
