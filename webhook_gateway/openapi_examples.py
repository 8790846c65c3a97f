"""Real payloads, as examples in the OpenAPI document."""

from typing import Any

SNAPSHOT_EXAMPLE: dict[str, Any] = {
    "timestamp": 1777492800,
    "ticker": "SPX",
    "min_dte": 0,
    "sec_min_dte": 1,
    "spot": 7138.55,
    "zero_gamma": 7112.95,
    "major_pos_vol": 7135,
    "major_pos_oi": 7200,
    "major_neg_vol": 7100,
    "major_neg_oi": 6900,
    "strikes": [
        [6890, -228.01, -86.9, [-240.55, -243.15, -245.22, -221.27, -220.12]],
        [6895, -48.47, 69.76, [-49.05, -46.76, -45.55, -45.53, -42.97]],
    ],
    "sum_gex_vol": 1712585.519,
    "sum_gex_oi": 51521.105,
    "delta_risk_reversal": 0.118,
    "max_priors": [
        [7140, 170979.742],
        [7135, 1145886.722],
        [7135, 997473.336],
        [7135, 1106210.715],
        [7135, 1128504.809],
        [7135, 1131150.488],
    ],
}
LEAN_SNAPSHOT_EXAMPLE: dict[str, Any] = {
    "timestamp": "2025-11-14T09:30:02-05:00",
    "ticker": "NQ_NDX",
    "endpoint": "gex_one",
    "spot_price": 25251.05,
    "strikes": [
        {"strike": 25197.21, "gamma_now": 1234.56, "oi_gamma": 210.4, "vanna": 0.5, "history": [1, 2, 3, 4, 5]}
    ],
}
_TRADE: dict[str, Any] = {
    "id": "3f1c2a7e-0d3e-4b86-9d0b-5a7a5f0c1d11",
    "executed_at": "2025-11-14T14:31:02.123000Z",
    "option_chain_id": "SPXW251114C06850000",
    "price": "4.20",
    "size": 10,
    "premium": "4200.00",
    "underlying_price": "6838.17",
    "implied_volatility": "0.181",
    "tags": ["ask_side"],
}
MESSAGE_EXAMPLES: dict[str, Any] = {
    "phoenix": {
        "summary": "Phoenix frame: join_ref, ref, topic, event, payload",
        "value": [None, None, "option_trades_super_algo:SPX", "new_msg", {"data": _TRADE}],
    },
    "pair": {"summary": "the official socket's pair: channel, payload", "value": ["option_trades:SPXW", _TRADE]},
    "object": {
        "summary": "an object",
        "value": {"topic": "flow-alerts", "event_type": "new", "payload": {"ticker": "TSLA", "alert_rule": "Sweeps"}},
    },
    "snapshot": {"summary": "a GexBot snapshot in a message", "value": ["gex:SPX", SNAPSHOT_EXAMPLE]},
}
ANNOUNCEMENT_EXAMPLE: dict[str, Any] = {
    "url": "https://hist.gex.bot/gb-nqndx/2025-11-14_NQ_NDX_classic_gex_zero.json?sv=2024&sig=...",
    "ticker": "NDX",
    "endpoint": "gex_zero",
}
