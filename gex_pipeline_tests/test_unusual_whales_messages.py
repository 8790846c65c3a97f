"""Unusual Whales messages: their frames, control traffic, the snapshots in them, and what is refused."""

import json
import sys

import pytest

from gex_pipeline.errors import RecordError
from gex_pipeline.formats.option_trades import trades
from gex_pipeline.formats.unusual_whales import Message, parse_message, snapshot_payload
from gex_pipeline_tests.option_trade_messages import refused_fields

SNAPSHOT = b'{"timestamp":1777492800, "ticker":"SPX","strikes":[[6890,-228.01,1.10]]}'


# Frames


def test_a_phoenix_message_is_read() -> None:
    body = b'[null, "7", "option_trades_super_algo:SPX", "new_msg", {"data": {"price": 1.10}}]'
    assert parse_message(body) == Message(
        "option_trades_super_algo:SPX", "new_msg", b'{"data": {"price": 1.10}}', is_control=False
    )


def test_a_channel_and_payload_pair_is_read() -> None:
    assert parse_message(b'["flow-alerts",{"a":1}]') == Message("flow-alerts", None, b'{"a":1}', is_control=False)


@pytest.mark.parametrize("topic", ["topic", "channel"])
@pytest.mark.parametrize("event", ["event_type", "event"])
@pytest.mark.parametrize("payload", ["payload", "data"])
def test_an_object_is_read_under_each_of_its_names(topic: str, event: str, payload: str) -> None:
    body = json.dumps({topic: "gex:SPY", event: "update", payload: [1, 2], "sent_by": "browser"})
    assert parse_message(body.encode()) == Message("gex:SPY", "update", b"[1, 2]", is_control=False)


def test_an_object_needs_no_event() -> None:
    assert parse_message(b'{"topic":"news","payload":{}}').event is None


def test_the_payload_is_kept_byte_for_byte() -> None:
    payload = '{ "b":1.10,"a" :"caf\u00e9 \\u00e9" , "a":2E+3}'.encode()
    for body in b'["x",%b]' % payload, b'[null,null,"x","e", %b ]' % payload, b'{"topic":"x","data":%b}' % payload:
        assert parse_message(body).payload == payload
        assert parse_message(memoryview(body)).payload == payload


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"payload":{}}', "topic"),
        (b'{"topic":null,"payload":{}}', "topic"),
        (b'{"topic":"","payload":{}}', "topic"),
        (b'{"channel":5,"payload":{}}', "channel"),
        (b'["  ",{}]', "topic"),
        (b"[{},{}]", "topic"),
        (b'[null,null,7,"new_msg",{}]', "topic"),
        (b'[null,null,"x",7,{}]', "event"),
        (b'{"topic":"x","event_type":{},"payload":{}}', "event_type"),
        (b'{"topic":"x","event":"y"}', "payload"),
        (b"[]", ""),
        (b'["x"]', ""),
        (b'["x",{},{}]', ""),
        (b'"x"', ""),
        (b"5", ""),
        (b"null", ""),
    ],
)
def test_what_is_none_of_the_frames_is_refused_by_field(body: bytes, field: str) -> None:
    with pytest.raises(RecordError) as refused:
        parse_message(body)
    assert refused_fields(refused.value) == [field]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b'["x",{}',
        b'["x",{"a":}]',
        b'["x",{}] extra',
        b'["x",NaN]',
        b'["x","\xff"]',
        b'["x","\xed\xa0\x80"]',
        b'["x","\\ud800"]',
        b'["x","\\x"]',
    ],
)
def test_a_body_that_is_not_json_is_refused_and_quoted(body: bytes) -> None:
    with pytest.raises(RecordError) as refused:
        parse_message(body)
    assert refused_fields(refused.value) == [""]
    assert refused.value.problems[0].value == body.decode(errors="replace")


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused(opening: bytes, closing: bytes, *, closed: bool) -> None:
    depth = 100_000
    for body in b'["option_trades",%b]', b'{"topic":"x","data":%b}':
        with pytest.raises(RecordError):
            parse_message(body % (opening * depth + b"1" + closing * depth * closed))


def test_nesting_that_only_a_later_step_finds_too_deep_is_refused() -> None:
    for depth in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit()):
        payload = b'{"price":' + b"[" * depth + b"]" * depth + b"}"
        with pytest.raises(RecordError):
            trades(Message("option_trades", None, payload, is_control=False))


# Control messages


@pytest.mark.parametrize(
    "body",
    [
        b'["1","1","option_trades:SPX","phx_join",{}]',
        b'["1","1","option_trades:SPX","phx_reply",{"response":{},"status":"ok"}]',
        b'["1",null,"option_trades:SPX","phx_close",{}]',
        b'{"response":{},"status":"ok"}',
        b' { "status" : "ok", "response" : {"a":1} }',
        b'[null,"9","phoenix","heartbeat",{}]',
        b'[null,"9","phoenix","anything",{}]',
        b'["option_trades:TSLA",{"response":{},"status":"ok"}]',
        b'["option_trades:TSLA",{"status" : "ok", "response" : {"a":1}}]',
        b'{"topic":"option_trades","event":"phx_reply","payload":{}}',
    ],
)
def test_the_sockets_own_traffic_is_control_and_carries_no_trades(body: bytes) -> None:
    message = parse_message(body)
    assert message.is_control
    assert trades(message) == []


@pytest.mark.parametrize(
    "body",
    [
        b'["news",{"response":{},"status":"ok","id":1}]',
        b'["news",{"response":{},"status":"error"}]',
        b'["news",{"response":"{}","status":"ok"}]',
        b'["news",["response","status"]]',
        b'[null,null,"news","new_msg",{"status":"ok"}]',
        b'[null,null,"phoenix_az","aphx_",{}]',
    ],
)
def test_data_that_resembles_control_traffic_is_data(body: bytes) -> None:
    assert not parse_message(body).is_control


# Snapshots


@pytest.mark.parametrize("topic", [b"gex", b"gex:SPX", b"gex_zero"])
def test_a_snapshot_is_cut_out_as_sent(topic: bytes) -> None:
    for payload in SNAPSHOT, b'{"n":1, "data" : %b }' % SNAPSHOT:
        assert snapshot_payload(parse_message(b'["%b",%b]' % (topic, payload))) == SNAPSHOT


@pytest.mark.parametrize(
    "body",
    [
        b'["gexbot",%b]' % SNAPSHOT,
        b'["news",%b]' % SNAPSHOT,
        b'["gex:SPY",{"timestamp":1,"gamma_per_one_percent_move":"5"}]',
        b'["gex:SPY",{"data":{"strikes":[]}}]',
        b'["gex:SPY",{"data":[%b]}]' % SNAPSHOT,
        b'["gex:SPY",[%b]]' % SNAPSHOT,
        b'["gex:SPY",null]',
    ],
)
def test_other_messages_carry_no_snapshot(body: bytes) -> None:
    assert snapshot_payload(parse_message(body)) is None
