"""Whether a day's Unusual Whales messages agree with themselves, and whether each became what it should."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import duckdb

from gex_pipeline.errors import RecordError
from gex_pipeline.formats.option_trades import trades
from gex_pipeline.formats.unusual_whales import Message
from gex_pipeline.history.verdicts import Verdict, clock, markdown
from gex_pipeline.trading_days import day_bounds_ms, recent_since_ms

# Clocks of the vendor and of this machine may differ so much; a socket that was cut off catches up within minutes.
MOST_AHEAD_MS, MOST_BEHIND_MS = 5_000, 600_000
# Adjusted contracts deliver other than 100 shares, and a socket that was cut off brings old trades.
MOST_ODD = 0.01
# A channel that brought so little on the day before need not bring anything.
FEWEST = 10
_SHOWN = 5
# So many messages without trades are looked into; more are not needed to see that something is wrong.
_MOST_READ = 10_000
_OCC = (
    r"regexp_extract(option_symbol, '^([A-Z0-9.]{1,6}) *(\d{6})([CP])(\d{8})$', ['root', 'expiry', 'side', 'strike'])"
)


@dataclass(frozen=True)
class Messages:
    """The messages of a New York day, in the database of the connection."""

    connection: duckdb.DuckDBPyConnection
    date: dt.date

    def of(self, table: str) -> str:
        """Return a SELECT of the day's rows of a table."""
        first_ms, last_ms = day_bounds_ms(self.date)
        return f"(FROM {table} WHERE received_at BETWEEN {first_ms:d} AND {last_ms:d})"

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.connection.execute(sql).fetchall()


Question = Callable[[Messages], Verdict]


def contracts(messages: Messages) -> Verdict:
    """The parts of an OCC symbol are the trade's ticker, expiry, side and strike."""
    columns = "id, option_symbol, underlying_symbol, expiry, option_type, strike"
    named = f"(SELECT {columns}, {_OCC} AS occ FROM {messages.of('option_trades_events')} WHERE option_symbol <> '')"
    # SPXW and NDXP are contracts of SPX and NDX, TSLA1 is an adjusted one, and BRKB is of BRK.B.
    differs = (
        "NOT starts_with(replace(occ.root, '.', ''), replace(underlying_symbol, '.', '')) "
        "OR occ.expiry IS DISTINCT FROM strftime(expiry, '%y%m%d') "
        "OR (occ.side = 'C') IS DISTINCT FROM (option_type = 'call') "
        "OR TRY_CAST(occ.strike AS BIGINT) IS DISTINCT FROM strike * 1000"
    )
    compared, odd = _count(messages, named, differs)
    return Verdict(
        not odd,
        f"{odd:,} of {compared:,} trades have another contract in their columns than in their symbol",
        {"compared": compared, "differing": odd},
        _examples(messages, named, differs, columns),
    )


def premiums(messages: Messages) -> Verdict:
    """A premium is price times size times 100, but for a few adjusted contracts."""
    priced = f"(FROM {messages.of('option_trades_events')} WHERE premium + price + size IS NOT NULL)"
    differs = "abs(premium::DOUBLE - price::DOUBLE * size * 100) > 0.01 * abs(premium::DOUBLE) + 1"
    compared, odd = _count(messages, priced, differs)
    return Verdict(
        odd <= MOST_ODD * compared,
        f"{odd:,} of {compared:,} premiums are not price times size times 100 (at most {MOST_ODD:.0%} may be)",
        {"compared": compared, "differing": odd},
        _examples(messages, priced, differs, "id, option_symbol, price, size, premium"),
    )


def times(messages: Messages) -> Verdict:
    """Trades arrive after they were made, and but for a few within minutes."""
    received = messages.of("option_trades_events")
    early, late = f"executed_at - received_at > {MOST_AHEAD_MS:d}", f"received_at - executed_at > {MOST_BEHIND_MS:d}"
    [(count, ahead, behind, usual)] = messages.ask(
        f"SELECT count(*), count(*) FILTER ({early}), count(*) FILTER ({late}), median(received_at - executed_at) "
        f"FROM {received}"
    )
    rows = messages.ask(
        f"SELECT received_at, executed_at, id FROM {received} WHERE {early} OR {late} "
        f"ORDER BY received_at LIMIT {_SHOWN:d}"
    )
    return Verdict(
        not ahead and behind <= MOST_ODD * count,
        f"{ahead:,} of {count:,} trades arrived before they were made, {behind:,} over "
        f"{MOST_BEHIND_MS // 60_000} minutes later (at most {MOST_ODD:.0%} may be)",
        {"trades": count, "before": ahead, "late": behind, "usual_delay_seconds": (usual or 0) / 1000},
        markdown(
            ("received", "executed", "id"), [(clock(received), clock(made), name) for received, made, name in rows]
        ),
    )


def ids(messages: Messages) -> Verdict:
    """A trade that was sent again is there once."""
    twice = messages.ask(
        f"SELECT id, count(*) FROM {messages.of('option_trades_events')} GROUP BY id HAVING count(*) > 1 ORDER BY id"
    )
    return Verdict(
        not twice,
        f"{len(twice):,} trades are there more than once",
        {"repeated": len(twice)},
        markdown(("id", "rows"), twice[:_SHOWN]),
    )


def typed(messages: Messages) -> Verdict:
    """Each message with option trades has become trades, or repeats some that are there."""
    sent, made = messages.of("universal_webhooks"), messages.of("option_trades_events")
    [(count,)] = messages.ask(f"SELECT count(*) FROM {sent} WHERE starts_with(topic, 'option_trades')")
    left = messages.ask(
        f"SELECT received_at, topic, event, payload FROM {sent} ANTI JOIN {made} USING (received_at, topic) "
        f"WHERE starts_with(topic, 'option_trades') ORDER BY received_at LIMIT {_MOST_READ:d}"
    )
    read = [
        (clock(received_ms), topic, _trade_ids(topic, event, payload)) for received_ms, topic, event, payload in left
    ]
    known = _known_ids(messages, {name for *_, found in read if not isinstance(found, str) for name in found})
    wrong = [
        (received, topic, found if isinstance(found, str) else "its trades are not in the table")
        for received, topic, found in read
        if isinstance(found, str) or not found <= known
    ]
    return Verdict(
        not wrong,
        f"{len(wrong):,} of {count:,} messages with option trades did not become trades",
        {"messages": count, "not_typed": len(wrong)},
        markdown(("received", "topic", "why"), wrong[:_SHOWN]),
    )


def _trade_ids(topic: str, event: str | None, payload: str) -> set[str] | str:
    """Return the ids of a message's trades, or why they cannot be read."""
    try:
        return {trade.id for trade in trades(Message(topic, event, payload.encode(), is_control=False))}
    except RecordError as error:
        return str(error).replace("|", "/")


def _known_ids(messages: Messages, names: set[str]) -> set[str]:
    found = messages.connection.execute(
        "SELECT DISTINCT id FROM option_trades_events WHERE id IN (SELECT unnest(?))", [sorted(names)]
    ).fetchall()
    return {name for (name,) in found}


def channels(messages: Messages) -> Verdict:
    """The channels that brought something on the trading day before have brought something."""
    first_ms, last_ms = day_bounds_ms(messages.date)
    counted = messages.ask(
        f"SELECT split_part(topic, ':', 1) AS channel, count(*) FILTER (received_at >= {first_ms:d}), "
        f"count(*) FILTER (received_at < {first_ms:d}) FROM universal_webhooks "
        f"WHERE received_at BETWEEN {recent_since_ms(first_ms):d} AND {last_ms:d} GROUP BY channel ORDER BY channel"
    )
    gone = [channel for channel, today, before in counted if not today and before >= FEWEST]
    return Verdict(
        not gone,
        f"{sum(today > 0 for _, today, _ in counted)} channels; {len(gone)} of the trading day before are not among "
        f"them{': ' if gone else ''}{', '.join(gone[:_SHOWN])}",
        {"channels": len(counted) - len(gone), "gone": len(gone), "messages": sum(today for _, today, _ in counted)},
        markdown(("channel", "messages", "since the day before"), counted[:50]),
    )


def _count(messages: Messages, rows: str, condition: str) -> tuple[int, int]:
    """Return how many rows there are, and how many meet a condition."""
    [(count, met)] = messages.ask(f"SELECT count(*), count(*) FILTER ({condition}) FROM {rows}")
    return count, met


def _examples(messages: Messages, rows: str, condition: str, columns: str) -> str:
    found = messages.ask(f"SELECT {columns} FROM {rows} WHERE {condition} ORDER BY id LIMIT {_SHOWN:d}")
    return markdown(columns.split(", "), found)
