"""Realistic Unusual Whales messages, in turn in each of the three frames."""

import datetime as dt
import random
import uuid
from collections.abc import Iterator
from typing import Any

from gex_pipeline.trading_days import NEW_YORK


def option_trade_messages(date: dt.date, seed: int = 0) -> Iterator[Any]:
    """Yield messages with one option trade each, every id once, decimals as strings; the same for the same seed."""
    rng = random.Random(seed)
    moment = dt.datetime.combine(date, dt.time(9, 30), NEW_YORK)
    while True:
        moment += dt.timedelta(milliseconds=rng.randrange(20, 900))
        strike, price, size = 6700 + 5 * rng.randrange(60), rng.randrange(5, 4000) / 100, rng.randrange(1, 200)
        trade = {
            "id": str(uuid.UUID(int=rng.getrandbits(128))),
            "executed_at": moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z"),
            "option_chain_id": f"SPXW{date:%y%m%d}{rng.choice('CP')}{strike * 1000:08d}",
            "price": f"{price:.2f}",
            "size": size,
            "premium": f"{price * size * 100:.2f}",
            "underlying_price": f"{6730 + rng.gauss(0, 5):.2f}",
            "implied_volatility": f"{rng.uniform(0.1, 0.5):.15f}",
            "delta": f"{rng.uniform(-1, 1):.18f}",
            "tags": [rng.choice(["ask_side", "bid_side", "mid_side"])],
            "exchange": "XCBO",
        }
        yield [
            [None, None, "option_trades_super_algo:SPX", "new_msg", {"data": trade}],
            ["option_trades:SPXW", trade],
            {"topic": "option_trades", "event_type": "new_msg", "payload": {"data": [trade]}},
        ][rng.randrange(3)]
