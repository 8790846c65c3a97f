"""Option trades as Unusual Whales sends them."""

import json
from typing import Any

from gex_pipeline.errors import RecordError
from gex_pipeline.formats.option_trades import OptionTrade, trades
from gex_pipeline.formats.unusual_whales import parse_message

TRADE: dict[str, Any] = {
    "id": "a4dc6020-0611-4c23-b0bc-99944c7348ab",
    "underlying_symbol": "UVIX",
    "executed_at": 1726670167412,
    "nbbo_bid": "0.01",
    "nbbo_ask": "0.09",
    "size": 1,
    "price": "0.01",
    "option_symbol": "UVIX240920C00025000",
    "created_at": 1726670167461,
    "report_flags": [],
    "tags": ["bid_side", "bearish", "etf"],
    "expiry": "2024-09-20",
    "option_type": "call",
    "open_interest": 410,
    "strike": "25.0000000000",
    "premium": "1.00",
    "volume": 105,
    "underlying_price": "4.9261",
    "ewma_nbbo_ask": "0.09",
    "ewma_nbbo_bid": "0.01",
    "implied_volatility": "8.46381958089369",
    "delta": "0.01132315610146539",
    "theta": "-0.02291485773244166",
    "gamma": "0.00962272181839715",
    "vega": "0.0001082948756510385",
    "rho": "0.000002508438316242667",
    "theo": "0.01",
    "trade_code": "slan",
    "exchange": "XCBO",
    "ask_vol": 10,
    "bid_vol": 95,
    "no_side_vol": 0,
    "mid_vol": 0,
    "multi_vol": 0,
    "stock_multi_vol": 0,
}
MINIMAL = {"id": "1", "executed_at": 1726670167412, "option_chain_id": "SPXW251121P06512500"}


def option_trades(payload: Any) -> list[OptionTrade]:
    return trades(parse_message(json.dumps(["option_trades:UVIX", payload]).encode()))


def trade(**changes: Any) -> OptionTrade:
    (found,) = option_trades(MINIMAL | changes)
    return found


def refused_fields(error: RecordError) -> list[str]:
    return [problem.field for problem in error.problems]
