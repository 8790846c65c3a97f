"""Option trades: each value in each of its spellings, OCC symbols, what is refused, and the table they become."""

import datetime as dt
import json
from decimal import Decimal

import pyarrow as pa
import pytest

from gex_pipeline.errors import RecordError
from gex_pipeline.formats.option_trades import TRADES_SCHEMA, OccSymbol, OptionTrade, parse_occ, trades, trades_table
from gex_pipeline.formats.unusual_whales import parse_message
from gex_pipeline_tests.option_trade_messages import MINIMAL, TRADE, option_trades, refused_fields, trade

PRICES = ["strike", "price", "premium", "underlying_price", "nbbo_bid", "nbbo_ask"]
COMPUTED = [
    "ewma_nbbo_bid", "ewma_nbbo_ask", "implied_volatility", "delta", "gamma", "theta", "vega", "rho", "theo",
]  # fmt: skip


# Trades


def test_every_column_of_a_trade_is_read() -> None:
    assert option_trades(TRADE | {"sector": "ETF", "is_agg": False, "canceled": True, "mid_vol": "12"}) == [
        OptionTrade(
            id="a4dc6020-0611-4c23-b0bc-99944c7348ab",
            executed_at_ms=1726670167412,
            option_symbol="UVIX240920C00025000",
            underlying_symbol="UVIX",
            expiry=dt.date(2024, 9, 20),
            option_type="call",
            strike=Decimal(25),
            price=Decimal("0.01"),
            size=1,
            premium=Decimal("1.00"),
            underlying_price=Decimal("4.9261"),
            volume=105,
            open_interest=410,
            ask_vol=10,
            bid_vol=95,
            mid_vol=12,
            no_side_vol=0,
            multi_vol=0,
            stock_multi_vol=0,
            nbbo_bid=Decimal("0.01"),
            nbbo_ask=Decimal("0.09"),
            ewma_nbbo_bid=0.01,
            ewma_nbbo_ask=0.09,
            implied_volatility=8.46381958089369,
            delta=0.01132315610146539,
            gamma=0.00962272181839715,
            theta=-0.02291485773244166,
            vega=0.0001082948756510385,
            rho=2.508438316242667e-06,
            theo=0.01,
            exchange="XCBO",
            trade_code="slan",
            sector="ETF",
            tags=("bid_side", "bearish", "etf"),
            report_flags=(),
            is_agg=False,
            canceled=True,
        )
    ]


def test_a_trade_is_found_bare_in_data_and_in_lists() -> None:
    assert option_trades(TRADE) == option_trades({"data": TRADE, "_computed": {"is_sweep": True}})
    assert option_trades(TRADE) * 2 == option_trades([TRADE, TRADE]) == option_trades({"data": [TRADE, TRADE]})
    assert option_trades([]) == option_trades({"data": []}) == []


@pytest.mark.parametrize("topic", ["option_trades", "option_trades:TSLA", "option_trades_super_algo:SPX"])
def test_every_option_trades_topic_carries_trades(topic: str) -> None:
    assert len(trades(parse_message(json.dumps([topic, TRADE]).encode()))) == 1


@pytest.mark.parametrize("topic", ["flow-alerts", "gex:SPY", "lit_trades", "my_option_trades"])
def test_no_other_topic_carries_trades(topic: str) -> None:
    assert trades(parse_message(json.dumps([topic, TRADE]).encode())) == []


def test_a_trade_with_only_an_occ_symbol_has_its_contract_and_nothing_else() -> None:
    found = trade()
    assert (found.underlying_symbol, found.expiry, found.option_type, found.strike) == (
        "SPXW",
        dt.date(2025, 11, 21),
        "put",
        Decimal("6512.5"),
    )
    assert (found.price, found.size, found.sector, found.canceled) == (None, None, None, None)
    assert (found.tags, found.report_flags) == ((), ())


def test_a_contract_in_four_parts_needs_no_occ_symbol() -> None:
    parts = {"option_chain_id": None, "ticker": "SPX", "expiry": "2025-11-21", "option_type": "PUT", "strike": 6512.5}
    found = trade(**parts)
    assert (found.option_symbol, found.underlying_symbol, found.option_type) == (None, "SPX", "put")
    for name in parts.keys() - {"option_chain_id"}:
        with pytest.raises(RecordError) as refused:
            trade(**parts | {name: None})
        assert refused_fields(refused.value) == ["underlying_symbol" if name == "ticker" else name]


def test_what_was_sent_beside_the_occ_symbol_wins_over_it() -> None:
    found = trade(underlying="SPX", strike="6512.50")
    assert (found.underlying_symbol, str(found.strike), found.option_type) == ("SPX", "6512.50", "put")


def test_other_vendor_names_fill_the_same_column() -> None:
    assert trade(upstream_condition_detail="mlet").trade_code == "mlet"
    assert trade(option_chain_id=None, option_symbol="SPY251121C00500000").option_symbol == "SPY251121C00500000"


@pytest.mark.parametrize("sent", ["1.10", '"1.10"'])
def test_a_decimal_is_exact_as_a_number_and_as_a_string(sent: str) -> None:
    body = '["option_trades",{"id":"1","executed_at":1726670167412,"option_symbol":"SPY251121C00500000","price":%s}]'
    (found,) = trades(parse_message((body % sent).encode()))
    assert str(found.price) == "1.10"


@pytest.mark.parametrize(
    ("sent", "price"),
    [
        (7, "7"),
        ("-0.05", "-0.05"),
        (".5", "0.5"),
        ("1E+3", "1000"),
        ("99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999"),
        ("0.000000000000000001", "0.000000000000000001"),
    ],
)
def test_a_price_of_up_to_20_and_18_digits_is_taken(sent: object, price: str) -> None:
    assert trade(price=sent).price == Decimal(price)


@pytest.mark.parametrize(
    "sent",
    [
        "100000000000000000000",
        10**20,
        "0.0000000000000000001",
        "1E+20",
        "1E+99999999999999999999",
        "1E-19",
        "NaN",
        "Infinity",
        "",
        "1_0",
        " 1",
        "1,000",
        "0x1",
        "\u0661",
        "5.",
        True,
        [],
        {},
    ],
)
def test_any_other_price_is_refused(sent: object) -> None:
    with pytest.raises(RecordError) as refused:
        trade(price=sent)
    assert refused_fields(refused.value) == ["price"]


@pytest.mark.parametrize(("sent", "size"), [(3, 3), ("3", 3), (3.0, 3), (2**63 - 1, 2**63 - 1), (-(2**63), -(2**63))])
def test_a_whole_number_is_a_count(sent: object, size: int) -> None:
    assert trade(size=sent).size == size


@pytest.mark.parametrize("sent", [2**63, -(2**63) - 1, 1.5, "1.5", "three", True, [3], "1E+30", 10**4000])
def test_no_other_value_is_a_count(sent: object) -> None:
    with pytest.raises(RecordError) as refused:
        trade(size=sent)
    assert refused_fields(refused.value) == ["size"]


@pytest.mark.parametrize(
    "sent",
    [
        1726670167412,
        "1726670167412",
        1726670167.412,
        "1726670167.4129",
        "2024-09-18T14:36:07.412Z",
        "2024-09-18T14:36:07.412",
        "2024-09-18 14:36:07.412999+00",
        "2024-09-18T10:36:07.412345678-04:00",
    ],
)
def test_a_time_is_read_in_each_of_its_spellings(sent: object) -> None:
    assert trade(executed_at=sent).executed_at_ms == 1726670167412


@pytest.mark.parametrize("sent", [1726670167, "1726670167", "2024-09-18T14:36:07Z", "2024-09-18T14:36:07"])
def test_a_time_without_a_fraction_is_read(sent: object) -> None:
    assert trade(executed_at=sent).executed_at_ms == 1726670167000


@pytest.mark.parametrize(
    "sent",
    [
        0,
        -5,
        1726670167412000,
        10**400,
        "yesterday",
        "",
        "2024-08-2",
        "2024-09-18",
        "20240918",
        "2024-13-18T14:36:07",
        "2024-09-18T25:36:07",
        "1999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        True,
        {},
    ],
)
def test_any_other_time_is_refused(sent: object) -> None:
    with pytest.raises(RecordError) as refused:
        trade(executed_at=sent)
    assert refused_fields(refused.value) == ["executed_at"]


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ("id", ""),
        ("id", 7),
        ("id", 1.5),
        ("option_chain_id", "SPX"),
        ("option_chain_id", 5),
        ("ticker", ""),
        ("expiry", "2025-02-30"),
        ("expiry", "2025-W03-5"),
        ("expiry", 20250117),
        ("option_type", "straddle"),
        ("strike", "x"),
        ("exchange", 5),
        ("sector", ["ETF"]),
        ("tags", "bullish"),
        ("tags", [1]),
        ("report_flags", {}),
        ("is_agg", 1),
        ("canceled", "f"),
        ("gamma", "1E+20"),
        ("rho", "NaN"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_it_was_sent_under(field: str, sent: object) -> None:
    with pytest.raises(RecordError) as refused:
        trade(**{field: sent})
    assert refused_fields(refused.value) == [field]


@pytest.mark.parametrize("field", ["id", "executed_at"])
@pytest.mark.parametrize("without", ["null", "absent"])
def test_a_trade_without_id_or_time_is_refused(field: str, without: str) -> None:
    sent = {name: value for name, value in MINIMAL.items() if name != field}
    with pytest.raises(RecordError, match="got nothing") as refused:
        option_trades(sent | ({field: None} if without == "null" else {}))
    assert refused_fields(refused.value) == [field]


def test_every_problem_of_a_trade_is_told_with_its_path() -> None:
    bad = MINIMAL | {"price": "x", "size": {}, "id": None}
    for payload, path in (bad, ""), ({"data": bad}, "data."), ([MINIMAL, bad], "1."), ({"data": [bad]}, "data.0."):
        with pytest.raises(RecordError) as refused:
            option_trades(payload)
        assert refused_fields(refused.value) == [f"{path}id", f"{path}price", f"{path}size"]
    assert str(refused.value.problems[2]).startswith("data.0.size: got an object, expected a whole number")


@pytest.mark.parametrize(
    ("payload", "field"),
    [(5, ""), (None, ""), ("x", ""), ([5], "0"), ({"data": None}, "data"), ({"data": [[]]}, "data.0")],
)
def test_what_is_no_trade_is_refused(payload: object, field: str) -> None:
    with pytest.raises(RecordError) as refused:
        option_trades(payload)
    assert refused_fields(refused.value) == [field]


# OCC symbols


@pytest.mark.parametrize(
    ("symbol", "contract"),
    [
        ("SPY251121C00500000", OccSymbol("SPY", dt.date(2025, 11, 21), "call", Decimal(500))),
        ("SPY   251121C00500000", OccSymbol("SPY", dt.date(2025, 11, 21), "call", Decimal(500))),
        ("F240229P00012345", OccSymbol("F", dt.date(2024, 2, 29), "put", Decimal("12.345"))),
        ("BRK.B1250117P99999999", OccSymbol("BRK.B1", dt.date(2025, 1, 17), "put", Decimal("99999.999"))),
        ("1SPX251121C00000500", OccSymbol("1SPX", dt.date(2025, 11, 21), "call", Decimal("0.5"))),
    ],
)
def test_an_occ_symbol_names_its_contract(symbol: str, contract: OccSymbol) -> None:
    assert parse_occ(symbol) == contract


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        "SPY",
        "251121C00500000",
        "TOOLONG251121C00500000",
        "SPY  251121C00500000",
        " SPY251121C00500000",
        "SPY251121C00500000 ",
        "SPY251121C00500000\n",
        "spy251121C00500000",
        "O:SPY251121C00500000",
        "SPY251121X00500000",
        "SPY251121C0050000",
        "SPY251121C005000000",
        "SPY251332C00500000",
        "SPY250229C00500000",
        "SPY25112\u0661C00500000",
    ],
)
def test_anything_else_is_no_occ_symbol(symbol: str) -> None:
    with pytest.raises(RecordError) as refused:
        parse_occ(symbol)
    assert refused_fields(refused.value) == ["option_symbol"]


# The table


def test_trades_become_rows_of_the_declared_table() -> None:
    table = trades_table([(1, "option_trades:UVIX", option_trades(TRADE)[0]), (2, "option_trades", trade())])
    assert table.schema == TRADES_SCHEMA
    first, second = table.to_pylist()
    assert (first["received_at"], first["topic"], first["executed_at"]) == (1, "option_trades:UVIX", 1726670167412)
    assert (first["strike"], first["expiry"]) == (Decimal(25), dt.date(2024, 9, 20))
    assert first["tags"] == ["bid_side", "bearish", "etf"]
    assert (second["price"], second["tags"], second["underlying_symbol"]) == (None, [], "SPXW")


@pytest.mark.parametrize("name", COMPUTED)
def test_a_computed_figure_is_a_double_that_keeps_every_digit_of_the_vendor(name: str) -> None:
    text = "0.000002508438316242667"
    for sent in (text, float(text), "2.508438316242667e-6"):
        found = trades_table([(1, "option_trades", trade(**{name: sent}))])[name].to_pylist()
        assert found == [2.508438316242667e-06]
        assert format(Decimal(repr(found[0])), "f") == text
    assert getattr(trade(), name) is None


@pytest.mark.parametrize("sent", ["1E+20", 10**20, "1e400", "NaN", "-Infinity", "", " 1", "1,5", True, [], {}])
def test_any_other_computed_figure_is_refused(sent: object) -> None:
    with pytest.raises(RecordError) as refused:
        trade(gamma=sent)
    assert refused_fields(refused.value) == ["gamma"]


def test_no_trades_make_an_empty_table() -> None:
    assert trades_table([]).equals(TRADES_SCHEMA.empty_table())


def test_the_columns_are_typed_and_ordered() -> None:
    assert TRADES_SCHEMA.names[:5] == ["received_at", "topic", "id", "executed_at", "option_symbol"]
    types = {name: TRADES_SCHEMA.field(name).type for name in TRADES_SCHEMA.names}
    assert types["received_at"] == types["executed_at"] == types["size"] == pa.int64()
    assert {types[name] for name in PRICES} == {pa.decimal128(38, 18)}
    assert {types[name] for name in COMPUTED} == {pa.float64()}
    assert types["expiry"] == pa.date32()
    assert types["tags"] == types["report_flags"] == pa.list_(pa.string())
    assert types["is_agg"] == types["canceled"] == pa.bool_()
