"""A held snapshot in the one shape that readers are given, as JSON."""

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from gex_pipeline.feeds import Feed
from gex_pipeline.formats.gexbot import NUMBER_COLUMNS, WHOLE_COLUMNS, Strikes, parse_snapshot
from webhook_gateway.latest import Held


def show_snapshot(feed: Feed, held: Held) -> bytes:
    """Return a snapshot by the names of its columns; it is encoded once, however many read it."""
    if held.shown is None:
        held.shown = msgspec.json.encode(_by_column(feed, held))
    return held.shown


def _by_column(feed: Feed, held: Held) -> dict[str, Any]:
    snapshot = parse_snapshot(held.body)
    numbers = zip(NUMBER_COLUMNS, snapshot.numbers, strict=True)
    texts = {"max_priors": snapshot.max_priors, "max_change": snapshot.max_change, "extra": snapshot.extra}
    return {
        "ticker": feed.ticker,
        "endpoint": feed.endpoint,
        "timestamp": held.timestamp_ms,
        "received_at": held.received_at_ms,
        "source": held.source,
        **{name: int(value) if value is not None and name in WHOLE_COLUMNS else value for name, value in numbers},
        **{name: text and msgspec.Raw(text.encode()) for name, text in texts.items()},
        "strikes": _show_strikes(snapshot.strikes),
    }


def _show_strikes(strikes: Strikes) -> list[dict[str, Any]]:
    """Return a ladder strike by strike; what is absent is NaN, which JSON writes as null."""
    counts = strikes.prior_counts.tolist()
    ends = np.cumsum([0, *(max(count, 0) for count in counts)]).tolist()
    priors = strikes.priors.tolist()
    vannas = [None] * len(counts) if strikes.vanna is None else strikes.vanna.tolist()
    return [
        {
            "strike": strike,
            "gamma": gamma,
            "oi_gamma": oi_gamma,
            "vanna": vanna,
            "priors": None if count < 0 else priors[start:end],
        }
        for (strike, gamma, oi_gamma), vanna, count, (start, end) in zip(
            strikes.table.tolist(), vannas, counts, pairwise(ends), strict=True
        )
    ]
