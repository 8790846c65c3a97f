"""The checks of what is captured live, and when they and the tables are looked at."""

import datetime as dt
from dataclasses import dataclass

import duckdb

from gex_pipeline.history.verdicts import Verdict
from gex_pipeline.live import message_verdicts
from gex_pipeline.live.freshness import fresh
from gex_pipeline.live.message_verdicts import Messages, Question
from gex_pipeline.live.stored import Live, Sender
from gex_pipeline.settings import Settings
from gex_pipeline.trading_days import session_opened_ms, sessions_before

# The last messages of a session need a moment to arrive and to be loaded.
SETTLED_AFTER_MS = 30 * 60_000


@dataclass(frozen=True)
class MessageCheck:
    """A check of a session's messages: the asset it speaks of, its name, and what is asked."""

    asset: str
    name: str
    question: Question
    description: str


# Feeds that are silent are told per feed; of messages only that none come at all, as channels may be quiet.
FRESH = {
    "live_snapshots": "While a session is on, each feed that sent since the trading day before has sent lately.",
    "webhooks": "While a session is on, messages come.",
}
MESSAGE_CHECKS = (
    MessageCheck("option_trades", "contracts", message_verdicts.contracts, "Symbols and columns name one contract."),
    MessageCheck("option_trades", "premiums", message_verdicts.premiums, "Premiums are price times size times 100."),
    MessageCheck("option_trades", "times", message_verdicts.times, "Trades arrive after they were made, and soon."),
    MessageCheck("option_trades", "ids", message_verdicts.ids, "A trade that was sent again is there once."),
    MessageCheck("webhooks", "typed", message_verdicts.typed, "Messages with option trades became trades."),
    MessageCheck("webhooks", "channels", message_verdicts.channels, "Channels of the day before brought something."),
)


def session_to_judge(now_ms: int, judged: str | None) -> dt.date | None:
    """Return the last session that has settled, unless it is the one judged last (an ISO date)."""
    last = sessions_before(now_ms - SETTLED_AFTER_MS, 1)[-1]
    return None if last.isoformat() == judged else last


def judge_freshness(settings: Settings, seen: dict[Live, list[Sender]], now_ms: int) -> dict[str, Verdict]:
    """Return the verdicts of `fresh` by asset."""
    opened_ms, limit = session_opened_ms(now_ms), settings.silent_feed_minutes
    by_asset = {live.asset: senders for live, senders in seen.items()}
    newest = [each.newest_ms for each in by_asset["webhooks"]]
    together = [Sender("all messages", len(newest), max(newest))] if newest else []
    return {
        "live_snapshots": fresh(by_asset["live_snapshots"], now_ms, opened_ms, limit),
        "webhooks": fresh(together, now_ms, opened_ms, limit),
    }


def judge_messages(connection: duckdb.DuckDBPyConnection, date: dt.date) -> list[tuple[MessageCheck, Verdict]]:
    """Return what the checks find in the messages of a day."""
    messages = Messages(connection, date)
    return [(check, check.question(messages)) for check in MESSAGE_CHECKS]
