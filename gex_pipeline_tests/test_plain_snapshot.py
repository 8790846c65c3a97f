"""The gateway's quick check of a snapshot says what the parser says, of any body."""

import json
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gex_pipeline.bench.load import SAMPLE
from gex_pipeline.demo.sessions import snapshots
from gex_pipeline.errors import FieldProblem, RecordError
from gex_pipeline.feeds import DEFAULT_ENDPOINT
from gex_pipeline.formats import plain_snapshot
from gex_pipeline.formats.gexbot import COLUMN_OF, ENDPOINT_KEYS, JSON_COLUMNS, Snapshot, parse_snapshot
from gex_pipeline.formats.plain_snapshot import check_snapshot

VENDORS = json.dumps(next(iter(snapshots(SAMPLE)))).encode()
FIELDS = ("timestamp", "ticker", "strikes", "never_seen", "Spot", *COLUMN_OF, *ENDPOINT_KEYS, *JSON_COLUMNS)
PLAIN_STRIKE = "[6890,-228.01,-86.9,[-240.55,-243.15,0,1e2,-220.12]]"
# Text, not values: much of what is refused is no JSON, and some of it is JSON that Python would not write.
NUMBERS = (
    "0", "-0", "17", "7138.55", "1E2", "1e-400", "1e308", "1e309", "-1e999", "9" * 30, "9" * 400, "0.5", "1.0",
    "2147483647", "2147483648", "-2147483648", "01", "+1", "1.", ".5", "0x1A", "NaN", "Infinity", "--1",
)  # fmt: skip
TEXTS = (
    '"SPX"', '" nq_ndx "', '"../etc"', '"gex_full"', '"one"', '"a/b"', '""', '"17"', '"1e5"', '"h\u00e9"',
    '"\\u0053PX"', '"\\ud800"', '"\\x"', '"a\nb"', '"a\\u0000"', '"[1,2]"', '"2025-11-14T09:30:02-05:00"', '"SPX',
)  # fmt: skip
OTHERS = ("null", "true", "[]", "{}", '{"a":[1,{"b":null}]}', '{"a":1e999}', "[[7140,1.5],[7135,2]]", "nul", "")
TIMES = (
    "1777492800",
    "1777492800123",
    "1777492800.5",
    "1",
    "-1777492800",
    "99999999999999",
    "946684800",
    "946684799",
)
LADDERS = (
    f"[{PLAIN_STRIKE}]", f"[{PLAIN_STRIKE},{PLAIN_STRIKE}]", f"[ {PLAIN_STRIKE} , {PLAIN_STRIKE} ]",
    "[[1,2]]", "[[1,2,3]]", "[[1,2,3,null]]", "[[1,2,3,[]]]", "[[1,null,3,[4,null]]]", "[[null,2,3,[4,5,6,7,8]]]",
    '[["1","2","3",["4"]]]', '[{"strike":1,"gamma":2}]', '[{"gamma":2}]', "[[1,2,3,[4,5,6,7,8],9]]",
    "[[1,2,3,[4,5,6,7,8]],]", "[[1,2,3,[4,5,6,7,]]]", "[[1,2,3,[4,5,6,7 8,9]]]", "[[1,2,3,[4,5,6,7,1e999]]]",
    f"[[1,2,3,[4,5,6,7,{'9' * 30}]]]", f"[[1,2,3,[4,5,6,7,{'9' * 400}]]]", "[[1,2,3,[4,5,6,7,1-2]]]",
    "[[1,2,3,[4,5,6,[7],8]]]", "[[1,2,3],[4,5,6,7,8,[1]]]",
)  # fmt: skip

values = st.sampled_from((*NUMBERS, *TEXTS, *OTHERS, *TIMES, *LADDERS))
plain_values = st.sampled_from(("1", "-2.5", "null", "0"))
mostly_plain = st.one_of(plain_values, plain_values, plain_values, values)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Objects of known fields, mostly what the vendor sends, with some of everything else, twice in places."""
    members = [
        ("timestamp", draw(st.one_of(st.just("1777492800"), st.sampled_from(TIMES), values))),
        ("ticker", draw(st.one_of(st.just('"SPX"'), values))),
        ("spot", draw(mostly_plain)),
        ("strikes", draw(st.one_of(st.just(f"[{PLAIN_STRIKE}]"), st.sampled_from(LADDERS), values))),
        *draw(st.lists(st.tuples(st.sampled_from(FIELDS), mostly_plain), max_size=6)),
    ]
    left_out = draw(st.sampled_from(("", "", "", "timestamp", "ticker", "spot", "strikes")))
    members = [member for member in draw(st.permutations(members)) if member[0] != left_out]
    body = "{" + ",".join(f'"{name}":{text}' for name, text in members) + "}"
    return draw(st.sampled_from(("", "", "", " ", "\r\n"))).encode() + body.encode() + draw(
        st.sampled_from((b"", b"", b"", b" \n", b"]", b"\xff", b"{}"))
    )  # fmt: skip


def verdict(body: bytes, *, quickly: bool) -> tuple[str, str, int] | tuple[FieldProblem, ...]:
    """The ticker, endpoint and time, or what is wrong."""
    try:
        if quickly:
            feed, timestamp_ms = check_snapshot(body)
            return feed.ticker, feed.endpoint, timestamp_ms
        found = parse_snapshot(body)
    except RecordError as error:
        return error.problems
    if found.ticker is None:
        return (FieldProblem("ticker", "nothing", "a ticker such as SPX or NQ_NDX"),)
    return found.ticker, found.endpoint or DEFAULT_ENDPOINT, found.timestamp_ms


def quickly_accepted(body: bytes, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the parser is not even asked."""
    asked: list[bytes] = []

    def ask(body: bytes) -> Snapshot:
        asked.append(body)
        return parse_snapshot(body)

    monkeypatch.setattr(plain_snapshot, "parse_snapshot", ask)
    check_snapshot(body)
    return not asked


@settings(max_examples=1000, deadline=None)
@given(bodies())
@example(b"")
@example(b"[" * 100_000)
@example(b'{"timestamp":1777492800,"ticker":"SPX","spot":1,"gex_type":"one","endpoint":"full"}')
@example(b'{"timestamp":1777492800,"ticker":"SPX","spot":1,"never_seen":' + b"[" * 100_000)
@example(b'{"timestamp":1777492800,"ticker":"SPX","spot":1,"never_seen":"\xff"}')
@example(b'{"timestamp":1777492800,"ticker":"SPX","spot":1,"max_change":{"a":"\xff"}}')
def test_the_quick_check_and_the_parser_agree(body: bytes) -> None:
    assert verdict(body, quickly=True) == verdict(body, quickly=False)


@pytest.mark.parametrize("field", FIELDS)
def test_they_agree_on_every_oddity_in_every_field(field: str) -> None:
    members = {"timestamp": "1777492800", "ticker": '"SPX"', "spot": "1", "strikes": f"[{PLAIN_STRIKE}]"}
    for value in (*NUMBERS, *TEXTS, *OTHERS, *TIMES, *LADDERS):
        body = "{" + ",".join(f'"{name}":{text}' for name, text in (members | {field: value}).items()) + "}"
        assert verdict(body.encode(), quickly=True) == verdict(body.encode(), quickly=False), value


def test_they_agree_on_a_whole_snapshot_wherever_a_byte_is_changed() -> None:
    chance = random.Random("bytes")
    for _ in range(3000):
        body = bytearray(VENDORS)
        body[chance.randrange(len(body))] = chance.choice(b'0123456789.-+eE"[]{},: \n\x00\xff')
        assert verdict(bytes(body), quickly=True) == verdict(bytes(body), quickly=False)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"strikes": []},
        {"zero_gamma": 0},
        {"endpoint": "one"},
        {"never_seen": [1, {"a": "b"}]},
        {"max_change": {"one": [7140, 1.5]}},
    ],
)
def test_what_the_vendor_sends_needs_no_second_look(
    change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quickly_accepted(json.dumps(json.loads(VENDORS) | change).encode(), monkeypatch)
