"""From a request to its tables: what each source sends, over real HTTP."""

import json
from decimal import Decimal

import pytest

from gex_pipeline_tests.gateway_requests import SNAPSHOT, get, post
from gex_pipeline_tests.processes import GatewayProcess

TRADE = {
    "id": "T-1",
    "executed_at": "2025-11-14T14:31:02.123Z",
    "option_chain_id": "SPXW251114C06850000",
    "price": "4.20",
}
OTHER_TRADE = {
    "id": "T-2",
    "executed_at": 1763130662123,
    "option_symbol": "TSLA251114P00400500",
    "price": 1.1,
    "size": 3,
}
READ_TRADES = """
    SELECT id, executed_at, underlying_symbol, option_type, strike, price, size
    FROM option_trades_events WHERE id LIKE 'T-%' ORDER BY id"""


def test_a_snapshot_that_is_sent_again_is_answered_as_before_and_counted(gateway: GatewayProcess) -> None:
    first = SNAPSHOT | {"ticker": "AGAIN"}
    for body in (first, first, first | {"spot": 1.25}, first | {"endpoint": "zero"}, first | {"endpoint": "full"}):
        answer = post(gateway, "/gex", body)
        assert (answer.status_code, answer.json()) == (202, {"status": "ok", "ticker": "AGAIN"})
    gateway.wait_until_loaded()
    rows = gateway.rows("SELECT endpoint, spot_price FROM gex_snapshots WHERE ticker = 'AGAIN' ORDER BY ALL")
    assert rows == [("gex_full", 6838.5), ("gex_zero", 6838.5)]
    lines = get(gateway, "/lineage").json()
    assert sum(line["records_present"] for line in lines) == 3
    assert sum(line["records_differing"] for line in lines) == 2  # one by its spot, one by naming its endpoint


@pytest.mark.parametrize(
    ("ticker", "frame"),
    [
        ("FRAMEA", [None, None, "gex:FRAMEA", "new_msg", {"data": SNAPSHOT | {"ticker": "FRAMEA"}}]),
        ("FRAMEB", ["gex:FRAMEB", SNAPSHOT | {"ticker": "FRAMEB"}]),
        ("FRAMEC", {"topic": "gex", "event_type": "new", "payload": SNAPSHOT | {"ticker": "FRAMEC"}}),
        ("FRAMED", {"topic": "gex", "event": "new", "data": SNAPSHOT | {"ticker": "FRAMED"}}),
    ],
)
def test_a_snapshot_in_any_frame_is_a_snapshot_and_a_message(
    gateway: GatewayProcess, ticker: str, frame: object
) -> None:
    assert post(gateway, "/uw", frame).status_code == 200
    gateway.wait_until_loaded()
    found = gateway.rows("SELECT ticker, source, endpoint FROM gex_snapshots")
    assert (ticker, "uw", "gex_zero") in found
    payloads = [json.loads(payload) for (payload,) in gateway.rows("SELECT payload FROM universal_webhooks")]
    assert SNAPSHOT | {"ticker": ticker} in [each.get("data", each) for each in payloads]


def test_trades_of_either_shape_get_typed_columns_and_one_sent_again_is_one_event(gateway: GatewayProcess) -> None:
    messages = [
        [None, None, "option_trades_super_algo:SPX", "new_msg", {"data": TRADE}],
        ["option_trades:TSLA", OTHER_TRADE],
        {"topic": "option_trades", "event_type": "new", "payload": [TRADE, OTHER_TRADE]},
    ]
    for message in messages:
        assert post(gateway, "/uw", message).status_code == 200
    gateway.wait_until_loaded()
    assert gateway.rows(READ_TRADES) == [
        ("T-1", 1763130662123, "SPXW", "call", Decimal(6850), Decimal("4.20"), None),
        ("T-2", 1763130662123, "TSLA", "put", Decimal("400.5"), Decimal("1.1"), 3),
    ]
    topics = [topic for (topic,) in gateway.rows("SELECT topic FROM universal_webhooks")]
    assert [topic for topic in topics if topic.startswith("option_trades")] == [
        "option_trades_super_algo:SPX", "option_trades:TSLA", "option_trades",
    ]  # fmt: skip
