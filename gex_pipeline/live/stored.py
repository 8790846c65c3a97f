"""How much of what was captured live is in the database, and when the last of it came."""

from dataclasses import dataclass

import duckdb

from gex_pipeline.trading_days import day_bounds_ms, new_york_time, recent_since_ms


@dataclass(frozen=True)
class Live:
    """One of the tables that captures reach, as an asset of Dagster.

    Attributes:
        asset: its name there.
        table: in the database.
        time: its column of epoch milliseconds UTC that grows, so that zone maps keep a look at the newest rows cheap.
        sender: SQL of who sent a row: the feed, or the channel.
        condition: SQL of the rows that are meant.
        is_long: there are so many rows that only those of the day are looked at.
    """

    asset: str
    table: str
    time: str
    sender: str
    condition: str = "true"
    is_long: bool = False


_FEED, _CAPTURED = "ticker || ':' || coalesce(endpoint, 'gex_zero')", "source IN ('live', 'uw')"
_CHANNEL = "split_part(topic, ':', 1)"
TABLES = (
    Live("live_snapshots", "gex_snapshots", "timestamp", _FEED, _CAPTURED),
    Live("live_strikes", "gex_strikes", "timestamp", _FEED, _CAPTURED, is_long=True),
    Live("option_trades", "option_trades_events", "received_at", _CHANNEL),
    Live("webhooks", "universal_webhooks", "received_at", _CHANNEL),
)


@dataclass(frozen=True)
class Sender:
    """What one feed or channel has sent.

    Attributes:
        rows: how many on the New York day that was asked for.
        newest_ms: time of the newest row, epoch milliseconds UTC.
    """

    name: str
    rows: int
    newest_ms: int


def senders(connection: duckdb.DuckDBPyConnection, live: Live, now_ms: int) -> list[Sender]:
    """Return who has sent anything since the trading day before that of a moment (epoch ms UTC), by name."""
    day_ms, _ = day_bounds_ms(new_york_time(now_ms).date())
    since_ms = day_ms if live.is_long else recent_since_ms(now_ms)
    rows = connection.execute(
        f"SELECT {live.sender} AS sender, count(*) FILTER ({live.time} >= {day_ms:d}), max({live.time}) "
        f"FROM {live.table} WHERE {live.time} BETWEEN {since_ms:d} AND {now_ms:d} AND {live.condition} "
        "GROUP BY sender ORDER BY sender"
    ).fetchall()
    return [Sender(*row) for row in rows]
