"""Generated Unusual Whales messages: whatever is sent is read or refused by field."""

import json
from decimal import Decimal

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gex_pipeline.errors import FieldProblem, RecordError
from gex_pipeline.formats.option_trades import trades, trades_table
from gex_pipeline.formats.unusual_whales import parse_message, snapshot_payload
from gex_pipeline_tests.option_trade_messages import TRADE, trade

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=10,
)
TOPICS = st.sampled_from(["option_trades", "option_trades:SPX", "gex", "gex:SPY", "phoenix", "", None])
NUMBERS = st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,5})?", fullmatch=True)
FIELDS = st.sampled_from(sorted(TRADE.keys() | {"sector", "is_agg", "canceled", "option_chain_id", "ticker", "data"}))
FRAMES = st.one_of(
    st.tuples(TOPICS | JSON, JSON),
    st.tuples(st.none(), st.none(), TOPICS | JSON, st.sampled_from(["new_msg", "phx_reply", None]) | JSON, JSON),
    st.dictionaries(st.sampled_from(["topic", "channel", "event", "event_type", "payload", "data"]), TOPICS | JSON),
)


def refusal(body: bytes) -> tuple[FieldProblem, ...]:
    """Do all that is done to a body; the problems it was refused for, or none. Any other error escapes."""
    try:
        message = parse_message(body)
        json.loads(message.payload, parse_int=str)
        snapshot_payload(message)
        trades_table([(1, message.topic, found) for found in trades(message)])
    except RecordError as error:
        return error.problems
    return ()


@settings(deadline=None, max_examples=200)
@given(st.binary() | st.text().map(str.encode) | JSON.map(lambda value: json.dumps(value).encode()))
@example(b'["x","\\ud83d"]')
@example(b'["option_trades",' + b"9" * 5000 + b"]")
def test_no_body_raises_anything_but_a_record_error(body: bytes) -> None:
    assert all(problem.expected for problem in refusal(body))


@settings(deadline=None, max_examples=200)
@given(FRAMES)
def test_no_frame_raises_anything_but_a_record_error(frame: object) -> None:
    for body in json.dumps(frame).encode(), json.dumps(frame, ensure_ascii=False).encode():
        assert all(problem.expected for problem in refusal(body))


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(FIELDS, JSON | NUMBERS, min_size=1, max_size=3))
def test_a_changed_trade_fits_the_table_or_is_refused_by_a_changed_field(changes: dict[str, object]) -> None:
    body = json.dumps(["option_trades", TRADE | changes]).encode()
    assert {problem.field.split(".")[0] for problem in refusal(body)} <= changes.keys()


@settings(deadline=None, max_examples=200)
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20) + 1, max_value=10**20 - 1, places=18))
def test_a_price_reaches_the_table_unchanged(price: Decimal) -> None:
    table = trades_table([(1, "option_trades", trade(price=str(price)))])
    assert table["price"].to_pylist() == [price]


@settings(deadline=None, max_examples=200)
@given(st.floats(min_value=-(10.0**19), max_value=10.0**19))
def test_a_computed_figure_reaches_the_table_unchanged(figure: float) -> None:
    for sent in (figure, repr(figure), format(Decimal(repr(figure)), "f")):
        table = trades_table([(1, "option_trades", trade(vega=sent))])
        assert table["vega"].to_pylist() == [figure]
