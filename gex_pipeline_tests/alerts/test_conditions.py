"""What is found in what was observed, and what the message says of it."""

import datetime as dt
import socket
from dataclasses import replace
from typing import Any

import pytest

from gex_pipeline.alerts.conditions import CONDITIONS, Findings, Observation, find
from gex_pipeline.alerts.messages import compose, without_secrets
from gex_pipeline.alerts.telling import News
from gex_pipeline.settings import load_settings
from gex_pipeline.trading_days import NEW_YORK, recent_since_ms, session_opened_ms

SETTINGS = load_settings(silent_feed_minutes=5, backlog_minutes=5, disk_low_gb=5)
WELL: dict[str, Any] = {
    "journal": {"ok": True, "error": None},
    "loader": {"ok": True, "error": None},
    "backlog": {"ok": True, "bytes": 100, "age_seconds": 1.0},
    "disk": {"ok": True, "free_bytes": 10**12},
}
ALL_WELL = dict.fromkeys(["gateway", "journal", "disk", "loader", "backlog", "quarantine"])


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp() * 1000)


def seen(now: str = "2025-11-14 12:00:00", last: dict[str, str] | None = None, **changes: Any) -> Observation:
    """Return what is seen at a New York time, with the feeds and when they sent last."""
    now_ms = at(now)
    observation = Observation(
        now_ms=now_ms,
        ready=WELL,
        taking_since_ms=at("2025-01-02 00:00:00"),
        quarantined=0,
        last_seen_ms={feed: at(text) for feed, text in (last or {}).items()},
        session_opened_ms=session_opened_ms(now_ms),
        recent_since_ms=recent_since_ms(now_ms),
    )
    return replace(observation, **changes)


def checks(name: str, **changes: Any) -> dict[str, Any]:
    return WELL | {name: WELL[name] | changes}


@pytest.mark.parametrize(
    ("observation", "found"),
    [
        (seen(), {}),
        (seen(ready=checks("journal", ok=False, error="No space")), {"journal": "No space"}),
        (seen(ready=checks("disk", free_bytes=4_999_999_999)), {"disk": "4,999,999,999 bytes are free"}),
        (seen(ready=checks("disk", free_bytes=5_000_000_000)), {}),
        (seen(ready=checks("loader", ok=False, error="PID 7 has it")), {"loader": "PID 7 has it"}),
        (
            seen(ready=checks("loader", ok=False)),
            {"loader": "the loader does not run, or has not been heard of"},
        ),
        (seen(ready=checks("backlog", age_seconds=300.0)), {"backlog": "100 bytes, the oldest for 5.0 minutes"}),
        (seen(ready=checks("backlog", age_seconds=299.0)), {}),
        (seen(ready=checks("backlog", age_seconds=300.0, bytes=0)), {}),
        (seen(quarantined=3), {"quarantine": "3 new files of them in 10 minutes"}),
    ],
)
def test_each_condition_is_found_where_it_is_and_not_where_it_is_not(
    observation: Observation, found: Findings
) -> None:
    assert find(observation, SETTINGS) == ALL_WELL | found


def test_of_a_gateway_that_does_not_answer_nothing_else_is_known() -> None:
    observation = seen(ready="GET /ready failed", quarantined=1, last={"SPX:gex_zero": "2025-11-14 11:00:00"})
    assert find(observation, SETTINGS).keys() == {"gateway", "quarantine"}


OPEN = "2025-11-14 09:30:00"


@pytest.mark.parametrize(
    ("now", "last", "verdict"),
    [
        ("2025-11-14 12:00:00", "2025-11-14 11:55:01", "sends"),
        ("2025-11-14 12:00:00", "2025-11-14 11:55:00", "silent"),
        ("2025-11-14 09:34:59", "2025-11-13 15:59:59", "unknown"),  # the session has only begun
        ("2025-11-14 09:35:00", "2025-11-13 15:59:59", "silent"),
        ("2025-11-14 12:00:00", "2025-11-12 15:59:59", "unknown"),  # it did not send yesterday either
        ("2025-11-17 12:00:00", "2025-11-14 15:59:59", "silent"),  # Monday after Friday
        ("2025-11-17 12:00:00", "2025-11-13 15:59:59", "unknown"),
        ("2025-11-14 15:59:59", "2025-11-14 15:00:00", "silent"),
        ("2025-11-14 16:00:00", "2025-11-14 15:00:00", "unknown"),  # closed
        ("2025-11-14 16:00:00", "2025-11-14 15:59:00", "sends"),
        ("2025-11-14 09:29:59", "2025-11-14 09:00:00", "unknown"),  # not open yet
        ("2025-11-15 12:00:00", "2025-11-14 15:59:59", "unknown"),  # Saturday
        ("2025-11-27 12:00:00", "2025-11-26 15:59:59", "unknown"),  # Thanksgiving
        ("2025-11-28 12:59:59", "2025-11-28 12:00:00", "silent"),  # the day after it closes at 13:00
        ("2025-11-28 13:00:00", "2025-11-28 12:00:00", "unknown"),
        ("2025-03-10 09:35:00", "2025-03-07 15:59:59", "silent"),  # the clocks went forward on Sunday
        ("2025-03-10 09:34:00", "2025-03-07 15:59:59", "unknown"),
    ],
)
def test_a_feed_is_silent_when_it_was_there_lately_and_sends_nothing_while_the_market_is_open(
    now: str, last: str, verdict: str
) -> None:
    findings = find(seen(now, {"SPX:gex_zero": last}), SETTINGS)
    key = "silent_feed SPX:gex_zero"
    found = "unknown" if key not in findings else "sends" if findings[key] is None else "silent"
    assert found == verdict


def test_feeds_have_time_to_come_back_after_the_gateway_was_away() -> None:
    last = {"SPX:gex_zero": "2025-11-14 10:00:00"}
    late = seen(last=last, taking_since_ms=at("2025-11-14 11:55:00"))
    assert "SPX:gex_zero sent last on 2025-11-14 at 10:00:00 New York" in str(find(late, SETTINGS).values())
    early = seen(last=last, taking_since_ms=at("2025-11-14 11:55:01"))
    assert find(early, SETTINGS) == ALL_WELL
    refusing = seen(last=last, ready=checks("journal", ok=False, error="full"))
    assert find(refusing, SETTINGS) == ALL_WELL | {"journal": "full"}


def test_zero_minutes_turn_silence_off() -> None:
    observation = seen(last={"SPX:gex_zero": "2025-11-14 10:00:00"})
    assert find(observation, load_settings(silent_feed_minutes=0)) == ALL_WELL


NOON = at("2025-11-14 12:00:00")
WHERE = f"{socket.gethostname()}, 2025-11-14 12:00:00 New York"


def test_a_message_says_what_it_is_why_what_to_do_and_where() -> None:
    [(title, text)] = compose([News("loader", "PID 7 has the database")], NOON)
    assert title == "Alert: captures are not being loaded"
    to_do = CONDITIONS["loader"].to_do
    assert text == f"PID 7 has the database\n{to_do}\n{WHERE}; see loader in docs/alerts.md"
    assert compose([News("loader", None)], NOON) == [("Over: captures are being loaded again", WHERE)]


def test_feeds_that_fall_silent_together_share_a_message_and_nothing_else_does() -> None:
    silent = [News(f"silent_feed {name}", f"{name} sent last") for name in ("A:gex_zero", "B:gex_zero")]
    over = [News(f"silent_feed {name}", None) for name in ("C:gex_zero", "D:gex_zero")]
    messages = dict(compose([silent[0], over[0], News("disk", "full"), silent[1], over[1]], NOON))
    assert len(messages) == 3
    assert messages["Alert: a feed is silent during the session"].startswith("A:gex_zero sent last\nB:gex_zero sent")
    assert messages["Over: the feed sends again"] == f"C:gex_zero, D:gex_zero\n{WHERE}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://hist.gex.bot/day.json?sv=1&sig=SECRET failed", "https://hist.gex.bot/day.json failed"),
        ("cannot read '/day.json?sig=SECRET'", "cannot read '/day.json"),
        ("https://user:SECRET@host/path", "https://host/path"),
        ("PID 7\nhas  it", "PID 7 has it"),
        ("x" * 400, "x" * 297 + "..."),
    ],
)
def test_reasons_are_one_bounded_line_without_the_parts_of_urls_that_may_be_secret(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
