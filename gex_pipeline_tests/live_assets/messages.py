"""Days of Unusual Whales messages, captured and loaded as the gateway and its loader would, whole or damaged."""

import copy
import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from gex_pipeline.demo.messages import option_trade_messages
from gex_pipeline.journal import encode_record, list_segments, name_journal, segment_path
from gex_pipeline.loader.loading import Loader
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease

# 26 November 2025, the eve of Thanksgiving.
DATE, DAY_BEFORE = dt.date(2025, 11, 26), dt.date(2025, 11, 25)
COUNT = 300
MINUTE_MS, HOUR_MS = 60_000, 3_600_000

Trade = dict[str, Any]
Sent = list[tuple[int, Any]]


def trades_of(date: dt.date) -> list[Trade]:
    """Return trades as the vendor sends them."""
    return [_trade_in(message) for message in islice(option_trade_messages(date, seed=date.toordinal()), COUNT)]


def _trade_in(message: Any) -> Trade:
    payload = message["payload"] if isinstance(message, dict) else message[-1]
    inner = payload.get("data", payload)
    return copy.deepcopy(inner[0] if isinstance(inner, list) else inner)


def sent_on(date: dt.date, trades: list[Trade]) -> Sent:
    """Return messages with when they were received: trades a moment after they were made, and two other channels."""
    sent: Sent = []
    for number, trade in enumerate(trades):
        received_ms = int(dt.datetime.fromisoformat(trade["executed_at"]).timestamp() * 1000) + 340
        sent.append((received_ms, ["option_trades:SPXW", trade]))
        if number % 10 == 0:
            sent.append(
                (received_ms + 1, {"topic": "flow-alerts", "payload": {"id": str(number), "date": str(date)}})
            )
            sent.append((received_ms + 2, ["gex_strike:SPX", {"strike": "6700", "call_gex": "1.5"}]))
    return sent


def capture(settings: Settings, sent: Sent) -> None:
    """Capture and load messages."""
    journal = settings.journal_dir
    journal.mkdir(parents=True, exist_ok=True)
    name_journal(journal)
    lines = [encode_record("uw", received_ms, json.dumps(body).encode()) for received_ms, body in sent]
    segment_path(journal, max(list_segments(journal), default=0) + 1).write_bytes(b"".join(lines))
    loader = Loader(settings)
    while loader.load_next():
        pass


@dataclass(frozen=True)
class Damage:
    """What is done to the messages of a day.

    Attributes:
        trades: changes its trades, before they are sent.
        sent: changes what is sent and received.
        stored: SQL, done to the database afterwards.
    """

    trades: Callable[[list[Trade]], list[Trade]] = lambda trades: trades
    sent: Callable[[Sent], Sent] = lambda sent: sent
    stored: str = ""


def apply(settings: Settings, damage: Damage) -> None:
    """Capture and load the damaged day."""
    capture(settings, damage.sent(sent_on(DATE, damage.trades(trades_of(DATE)))))
    if damage.stored:
        with lease(settings.database_path, purpose="damage") as connection:
            connection.execute(damage.stored)


def _one(change: Callable[[Trade], Trade]) -> Damage:
    """Change one trade."""
    return Damage(lambda trades: [*trades[:100], trades[100] | change(trades[100]), *trades[101:]])


def _all(change: Callable[[Trade], Trade]) -> Damage:
    """Change each trade."""
    return Damage(lambda trades: [trade | change(trade) for trade in trades])


def _strike_of(trade: Trade) -> int:
    return int(trade["option_chain_id"][-8:]) // 1000


def _premium(trade: Trade, factor: float) -> Trade:
    return {"premium": f"{float(trade['premium']) * factor:.2f}"}


def _made_later(minutes: int) -> Callable[[Sent], Sent]:
    """Let each message come so many minutes later, or before it was made."""
    return lambda sent: [(received_ms + minutes * MINUTE_MS, body) for received_ms, body in sent]


# By what the page on integrity calls them.
DAMAGES = {
    "a strike that the symbol does not name": _one(lambda trade: {"strike": str(_strike_of(trade) + 5)}),
    "an expiry that the symbol does not name": _one(lambda _: {"expiry": "2025-12-19"}),
    "a put with the symbol of a call, or the reverse": _one(
        lambda trade: {"option_type": "call" if "P" in trade["option_chain_id"][-9] else "put"}
    ),
    "another ticker than the symbol's": _one(lambda _: {"underlying_symbol": "NDX"}),
    "premiums without the multiplier": _all(lambda trade: _premium(trade, 0.01)),
    "prices in cents": _all(lambda trade: {"price": str(round(float(trade["price"]) * 100))}),
    "a clock that is a minute behind": Damage(sent=_made_later(-1)),
    "a day that arrives an hour late": Damage(sent=_made_later(60)),
    "a trade twice in the table": Damage(
        stored="INSERT INTO option_trades_events FROM option_trades_events ORDER BY received_at DESC LIMIT 1"
    ),
    "a trade that cannot be read": _one(lambda _: {"price": "1,5"}),
    "a stored trade deleted": Damage(
        stored="DELETE FROM option_trades_events "
        "WHERE received_at = (SELECT max(received_at) FROM option_trades_events)"
    ),
    "a channel that brings nothing any more": Damage(
        sent=lambda sent: [
            each for each in sent if not (isinstance(each[1], dict) and each[1]["topic"] == "flow-alerts")
        ]
    ),
}


def _resent(sent: Sent) -> Sent:
    return [*sent, *((received_ms + HOUR_MS, body) for received_ms, body in sent[:20])]


def _with_traffic(sent: Sent) -> Sent:
    """Add what a socket says of itself."""
    said = [["1", "1", "option_trades:SPXW", "phx_join", {}], {"response": {}, "status": "ok"}]
    return [(sent[0][0] - 1000 + number, body) for number, body in enumerate(said)] + sent


HEALTHY = {
    "as the vendor sends it": Damage(),
    "with a ticker besides the symbol": _all(lambda _: {"underlying_symbol": "SPX"}),
    "with all parts besides the symbol": _all(
        lambda trade: (
            {"strike": f"{_strike_of(trade)}.0000000000", "expiry": str(DATE), "option_type": "CALL"}
            if trade["option_chain_id"][-9] == "C"
            else {"strike": str(_strike_of(trade)), "expiry": str(DATE), "option_type": "put"}
        )
    ),
    "a share class in the symbol": _all(
        lambda trade: {"option_chain_id": trade["option_chain_id"].replace("SPXW", "BRKB"), "ticker": "BRK.B"}
    ),
    "an adjusted contract that delivers 150 shares": _one(
        lambda trade: (
            {"option_chain_id": trade["option_chain_id"].replace("SPXW", "TSLA1"), "ticker": "TSLA"}
            | _premium(trade, 1.5)
        )
    ),
    "without premiums": _all(lambda _: {"premium": None}),
    "without symbols": _all(
        lambda trade: {
            "option_chain_id": None,
            "ticker": "SPXW",
            "expiry": str(DATE),
            "option_type": "call",
            "strike": str(_strike_of(trade)),
        }
    ),
    "a few that were sent again": Damage(sent=_resent),
    "with the socket's own traffic": Damage(sent=_with_traffic),
    "a few that came late": Damage(
        sent=lambda sent: [(received_ms + (n < 2) * HOUR_MS, body) for n, (received_ms, body) in enumerate(sent)]
    ),
    "no messages at all that day nor before": Damage(sent=lambda _: []),
}
