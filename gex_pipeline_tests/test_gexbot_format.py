"""GexBot snapshots: every shape and alias that is accepted, and every value that is refused."""

import datetime as dt
import json
import math
import time
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gex_pipeline.errors import RecordError
from gex_pipeline.formats.gexbot import NUMBER_COLUMNS, Snapshot, parse_snapshot, parse_timestamp

VENDOR = b"""{"timestamp":1777492800,"ticker":"SPX","min_dte":0,"sec_min_dte":1,"spot":7138.55,"zero_gamma":7112.95,
 "major_pos_vol":7135,"major_pos_oi":7200,"major_neg_vol":7100,"major_neg_oi":6900,
 "strikes":[[6890,-228.01,-86.9,[-240.55,-243.15,-245.22,-221.27,-220.12]],
            [6895,-48.47,69.76,[-49.05,-46.76,-45.55,-45.53,-42.97]]],
 "sum_gex_vol":1712585.519,"sum_gex_oi":51521.105,"delta_risk_reversal":0.118,
 "max_priors":[[7140,170979.742],[7135,1145886.722],[7135,997473.336],[7135,1106210.715]]}"""
MINIMAL: dict[str, Any] = {"timestamp": 1777492800, "spot": 7138.55}
PRIORS = [-240.55, -243.15, -245.22, -221.27, -220.12]

Strike = tuple[float | None, float | None, float | None, float | None, list[float | None] | None]


def parsed(**changes: Any) -> Snapshot:
    return parse_snapshot(json.dumps(MINIMAL | changes).encode())


def refused_fields(record: bytes) -> list[str]:
    with pytest.raises(RecordError) as refused:
        parse_snapshot(record)
    assert len(str(refused.value)) < 400
    return [problem.field for problem in refused.value.problems]


def refused(**changes: Any) -> list[str]:
    return refused_fields(json.dumps(MINIMAL | changes).encode())


def refused_text(field: str, text: str) -> list[str]:
    """Fields refused when one of them is this very text, which need not be JSON."""
    record = json.dumps({name: value for name, value in MINIMAL.items() if name != field})
    return refused_fields(f'{record[:-1]},"{field}":{text}}}'.encode())


def number(snapshot: Snapshot, column: str) -> float | None:
    return snapshot.numbers[NUMBER_COLUMNS.index(column)]


def ladder(snapshot: Snapshot) -> list[Strike]:
    """The strikes as plain values, None where nothing was sent."""

    def plain(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    strikes = snapshot.strikes
    vannas = [math.nan] * len(strikes.table) if strikes.vanna is None else strikes.vanna.tolist()
    assert len(strikes.table) == len(strikes.prior_counts) == len(vannas)
    assert len(strikes.priors) == sum(count for count in strikes.prior_counts if count > 0)
    found, start = [], 0
    for (level, gamma, oi_gamma), vanna, count in zip(strikes.table, vannas, strikes.prior_counts, strict=True):
        priors = None if count < 0 else [plain(prior) for prior in strikes.priors[start : start + count]]
        start += max(count, 0)
        found.append((plain(level), plain(gamma), plain(oi_gamma), plain(vanna), priors))
    return found


# The vendor's own shape


def test_a_snapshot_of_the_vendor_is_read_value_for_value() -> None:
    snapshot = parse_snapshot(VENDOR)
    assert (snapshot.timestamp_ms, snapshot.ticker, snapshot.endpoint) == (1777492800000, "SPX", None)
    assert dict(zip(NUMBER_COLUMNS, snapshot.numbers, strict=True)) == {
        "spot_price": 7138.55,
        "zero_gamma": 7112.95,
        "net_gex": None,
        "min_dte": 0,
        "sec_min_dte": 1,
        "major_pos_vol": 7135,
        "major_pos_oi": 7200,
        "major_neg_vol": 7100,
        "major_neg_oi": 6900,
        "sum_gex_vol": 1712585.519,
        "sum_gex_oi": 51521.105,
        "delta_risk_reversal": 0.118,
        "net_gex_vol": None,
        "net_gex_oi": None,
    }
    assert (snapshot.max_change, snapshot.extra) == (None, None)
    assert ladder(snapshot) == [
        (6890, -228.01, -86.9, None, PRIORS),
        (6895, -48.47, 69.76, None, [-49.05, -46.76, -45.55, -45.53, -42.97]),
    ]


@pytest.mark.parametrize("form", [bytes, memoryview, bytearray, msgspec.Raw])
def test_a_record_may_be_bytes_a_view_or_a_slice_of_a_document(form: Any) -> None:
    assert ladder(parse_snapshot(form(VENDOR))) == ladder(parse_snapshot(VENDOR))


def test_a_snapshot_needs_a_timestamp_and_a_spot_or_strikes_and_nothing_else() -> None:
    assert ladder(parsed()) == []
    assert ladder(parsed(spot=None, strikes=[[6890, 1]])) == [(6890, 1, None, None, None)]
    assert refused(spot=None) == ["spot"]
    assert refused(spot=None, strikes=[]) == ["spot"]
    assert refused_fields(b'{"spot":1}') == ["timestamp"]
    assert refused_fields(b"{}") == ["timestamp"]


# Timestamps


@pytest.mark.parametrize(
    "sent",
    [
        1777492800,
        1777492800.0,
        1777492800000,
        "1777492800",
        " 1777492800000 ",
        "2026-04-29T20:00:00Z",
        "2026-04-29T20:00:00+00:00",
        "2026-04-29T16:00:00-04:00",
        "2026-04-29T20:00:00",
        "2026-04-29 20:00:00",
        " 2026-04-29T20:00:00.000Z ",
    ],
)
def test_a_time_is_read_in_each_of_its_spellings(sent: object) -> None:
    assert parsed(timestamp=sent).timestamp_ms == 1777492800000


@pytest.mark.parametrize(
    "sent",
    [1777492800.412, 1777492800412, "1777492800.412", "2026-04-29T20:00:00.412Z", "2026-04-29T22:00:00.412+02"],
)
def test_milliseconds_are_kept(sent: object) -> None:
    assert parsed(timestamp=sent).timestamp_ms == 1777492800412


def test_a_time_without_a_zone_is_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as somewhere:
        somewhere.setenv("TZ", "America/New_York")
        time.tzset()
        assert parsed(timestamp="2026-04-29T20:00:00").timestamp_ms == 1777492800000
    time.tzset()


def test_seconds_and_milliseconds_are_told_apart_from_2000_to_2100() -> None:
    for year in (2000, 2026, 2099):
        seconds = int(dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp())
        assert parse_timestamp(seconds) == parse_timestamp(seconds * 1000) == seconds * 1000


@pytest.mark.parametrize(
    "sent",
    [
        None,
        True,
        {},
        [1777492800],
        "",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "2026-04-29T25:00:00Z",
        "20260429",
        "1e400",
        "1_777_492_800",
        0,
        -1777492800,
        1777492800000000,
        10**30,
        "1999-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_any_other_time_is_refused(sent: object) -> None:
    assert refused(timestamp=sent) == ["timestamp"]


@pytest.mark.parametrize("text", ["1e400", "-1e400", "9" * 400, "9" * 5000])
def test_a_time_that_no_number_holds_is_refused(text: str) -> None:
    assert refused_text("timestamp", text) == ["timestamp"]


# Names


@pytest.mark.parametrize(("sent", "ticker"), [("spx", "SPX"), (" NQ_NDX\n", "NQ_NDX"), ("BRK.B", "BRK.B")])
def test_a_ticker_is_normalised(sent: str, ticker: str) -> None:
    assert parsed(ticker=sent).ticker == ticker


@pytest.mark.parametrize(
    "sent",
    [
        "", " ", "../../etc/passwd", "SPX/..", "A..B", "/SPX", "C:\\SPX", "SPX'; DROP TABLE gex_snapshots; --",
        "SPX NDX", "SP\nX", "SPX\x00", "A:B", "A|B", "é", "A" * 33, 5, None, True, ["SPX"],
    ],
)  # fmt: skip
def test_what_is_no_plain_name_is_refused_as_a_ticker(sent: object) -> None:
    assert refused(ticker=sent) == ["ticker"]


@pytest.mark.parametrize("key", ["endpoint", "category", "gex_type"])
@pytest.mark.parametrize(
    ("sent", "endpoint"), [("gex_full", "gex_full"), ("Zero", "gex_zero"), (" one ", "gex_one"), ("full", "gex_full")]
)
def test_an_endpoint_is_found_under_each_of_its_names(key: str, sent: str, endpoint: str) -> None:
    assert parsed(**{key: sent}).endpoint == endpoint


@pytest.mark.parametrize("sent", ["", "../gex_zero", "gex zero", "gex_zero;--", "x" * 33, 5, ["gex_zero"]])
def test_what_is_no_plain_name_is_refused_as_an_endpoint(sent: object) -> None:
    assert refused(endpoint=sent) == ["endpoint"]


def test_the_first_of_two_endpoint_names_is_taken_and_the_other_is_kept() -> None:
    snapshot = parsed(category="gex_one", gex_type="gex_full")
    assert (snapshot.endpoint, snapshot.extra) == ("gex_one", '{"gex_type":"gex_full"}')


# Numbers


@pytest.mark.parametrize("column", NUMBER_COLUMNS)
def test_every_number_is_taken_as_a_number_a_string_and_null(column: str) -> None:
    rest = {"strikes": [[1, 2]], "spot": None}
    for sent, value in ((17, 17), ("17", 17), (None, None)):
        assert number(parsed(**rest, **{column: sent}), column) == value
    for wrong in (True, False, [17], {"value": 17}, "", "seventeen", "NaN", "Infinity", "1,000", " 17", "0x11"):
        assert refused(**rest, **{column: wrong}) == [column]


@pytest.mark.parametrize(
    ("sent", "value"),
    [("-1.5", -1.5), ("+1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1.7e6", 1.7e6), ("1E-3", 1e-3), (-0.118, -0.118)],
)
def test_a_numeral_in_a_string_is_the_number(sent: object, value: float) -> None:
    assert number(parsed(zero_gamma=sent), "zero_gamma") == value


def test_spot_and_spot_price_are_the_same_column_and_a_null_does_not_hide_the_other() -> None:
    for first, second in (("spot", "spot_price"), ("spot_price", "spot")):
        assert (
            number(parse_snapshot(b'{"timestamp":1777492800,"%b":7138.55}' % first.encode()), "spot_price") == 7138.55
        )
        for sent in (f'"{first}":null,"{second}":7138.55', f'"{first}":7138.55,"{second}":null'):
            assert number(parse_snapshot(f'{{"timestamp":1777492800,{sent}}}'.encode()), "spot_price") == 7138.55


def test_zero_is_a_value_and_not_an_absence() -> None:
    assert number(parsed(zero_gamma=0), "zero_gamma") == 0


@pytest.mark.parametrize("column", ["min_dte", "sec_min_dte"])
def test_days_to_expiry_are_whole_numbers_of_32_bits(column: str) -> None:
    for sent in (0, 1.0, "1", -1, 2**31 - 1, -(2**31) + 1):
        assert number(parsed(**{column: sent}), column) == float(sent)
    for wrong in (0.5, "0.5", 2**31, -(2**31), 10**400):
        assert refused(**{column: wrong}) == [column]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x1", "'1'", "nul", ""])
@pytest.mark.parametrize("field", ["spot", "timestamp", "strikes", "max_priors", "something_new"])
def test_what_is_not_json_is_refused_with_the_whole_record(text: str, field: str) -> None:
    assert refused_text(field, text) == [""]


@pytest.mark.parametrize("text", ["1e400", "-1e400", "9" * 400, "-" + "9" * 400, f'"{"9" * 400}"', "9" * 5000])
def test_a_number_too_large_for_a_double_is_refused(text: str) -> None:
    assert refused_text("spot", text) == ["spot"]
    for strikes in "[[%s,1,2,[1,2,3,4,5]]]", "[[1,2,3,[1,2,3,4,%s]]]", "[[1,%s]]":
        (field,) = refused_text("strikes", strikes % text)
        assert field.split(".")[0] == "strikes"


def test_a_number_with_400_decimals_is_only_long() -> None:
    record = b'{"timestamp":1777492800,"spot":7138.%b}' % (b"5" * 400)
    assert number(parse_snapshot(record), "spot_price") == pytest.approx(7138.5555)


# Strikes


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([6890, -228.01], (6890, -228.01, None, None, None)),
        ([6890, -228.01, -86.9], (6890, -228.01, -86.9, None, None)),
        ([6890, -228.01, -86.9, PRIORS], (6890, -228.01, -86.9, None, PRIORS)),
        ([25197.21, 1, 2, PRIORS], (25197.21, 1, 2, None, PRIORS)),
        ([6890, 1, 2, []], (6890, 1, 2, None, [])),
        ([6890, 1, 2, [3.5]], (6890, 1, 2, None, [3.5])),
        ([6890, 1, 2, PRIORS * 2], (6890, 1, 2, None, PRIORS * 2)),
        ([6890, 1, 2, [1, None, 3, 4, 5]], (6890, 1, 2, None, [1, None, 3, 4, 5])),
        ([6890, 1, 2, None], (6890, 1, 2, None, None)),
        ([6890, None, None, PRIORS], (6890, None, None, None, PRIORS)),
        (["6890", "-228.01", "1e3", ["1", 2, "3.5", 4, 5]], (6890, -228.01, 1000, None, [1, 2, 3.5, 4, 5])),
        ({"strike": 6890}, (6890, None, None, None, None)),
        ({"strike": 6890.0, "gamma": 1234.56}, (6890, 1234.56, None, None, None)),
        ({"strike": 6890, "gamma_now": 1, "gamma": 2}, (6890, 1, None, None, None)),
        (
            {"strike": "6890", "gamma_now": 1, "oi_gamma": 2, "vanna": "0.5", "history": PRIORS},
            (6890, 1, 2, 0.5, PRIORS),
        ),
        ({"strike": 6890, "gamma": None, "vanna": None, "history": []}, (6890, None, None, None, [])),
    ],
)
def test_a_strike_is_read_in_each_of_its_shapes(sent: object, expected: Strike) -> None:
    assert ladder(parsed(strikes=[sent])) == [expected]
    neighbours = ladder(parsed(strikes=[[1, 2, 3, PRIORS], sent, {"strike": 4, "vanna": 5, "history": [6]}]))
    assert neighbours == [(1, 2, 3, None, PRIORS), expected, (4, None, None, 5, [6])]


def test_no_strikes_are_an_empty_ladder() -> None:
    assert ladder(parsed(strikes=None)) == ladder(parsed(strikes=[])) == ladder(parsed()) == []


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({}, "strikes"),
        ("[[1,2]]", "strikes"),
        (5, "strikes"),
        (True, "strikes"),
        ([5], "strikes.0"),
        ([None], "strikes.0"),
        ([[]], "strikes.0"),
        ([[1]], "strikes.0"),
        ([[1, 2, 3, [], 5]], "strikes.0"),
        ([{"gamma": 1}], "strikes.0"),
        ([[1, 2, 3, PRIORS], []], "strikes.1"),
        ([[[1, 2, 3, PRIORS]]], "strikes.0"),
        ([[1, 2], [None, 2]], "strikes.1.0"),
        ([{"strike": None}], "strikes.0.0"),
        ([["x", 2]], "strikes.0.0"),
        ([[True, 2]], "strikes.0.0"),
        ([[1, False]], "strikes.0.1"),
        ([[1, "NaN"]], "strikes.0.1"),
        ([[1, [2]]], "strikes.0.1"),
        ([[1, 2, {}]], "strikes.0.2"),
        ([[1, 2, 3, 4]], "strikes.0.3"),
        ([[1, 2, 3, {}]], "strikes.0.3"),
        ([[1, 2, 3, [1, 2, 3, 4, True]]], "strikes.0.3.4"),
        ([[1, 2, 3, [1, 2, 3, 4, "x"]]], "strikes.0.3.4"),
        ([[1, 2, 3, [1, 2, 3, 4, [5]]]], "strikes.0.3.4"),
        ([{"strike": 1, "vanna": "x"}], "strikes.0.vanna"),
        ([{"strike": 1, "history": 5}], "strikes.0.3"),
    ],
)
def test_any_other_strike_is_refused_by_its_place(sent: object, field: str) -> None:
    assert refused(strikes=sent) == [field]


@pytest.mark.parametrize(
    "text",
    [
        "[[1,2,3,[1,2,3,4,5]]",
        "[[1,2,3,[1,2,3,4,5]],]",
        "[[1,2,3,[1,2,3,4,]]]",
        "[[1,2,,[1,2,3,4,5]]]",
        "[[1 1,2,3,[1,2,3,4,5]]]",
        "[[1,2,3,[1,2,3,4,--5]]]",
        "[[1,2,3,[1,2,3,4,5e]]]",
        "[[1,2,3,[1,2,3,4,NaN]]]",
    ],
)
def test_a_ladder_that_is_almost_the_vendors_is_refused(text: str) -> None:
    assert refused_text("strikes", text) == [""]


def test_the_vendors_ladder_is_not_read_strike_by_strike(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_: object) -> None:
        raise AssertionError("the slow way was taken")

    monkeypatch.setattr("gex_pipeline.formats.gexbot._strikes_one_by_one", slow)
    pretty = json.dumps(json.loads(VENDOR), indent=2).encode()
    for record in (VENDOR, pretty, pretty.replace(b"\n", b"\r\n\t"), VENDOR.replace(b"-86.9", b"0")):
        assert len(ladder(parse_snapshot(record))) == 2


# Texts and unknown fields


@pytest.mark.parametrize("field", ["max_priors", "max_change"])
@pytest.mark.parametrize(
    "text",
    [
        "[[7140,170979.742],[7135,1145886.722]]",
        "[7140, 170979.742, 7135, 1145886.722]",
        '{"one": [7140, 1.10], "five": [7135, 2E+3]}',
        "[]",
        "[[0, 0.0]]",
    ],
)
def test_maxima_are_kept_as_they_were_sent_and_as_a_json_string(field: str, text: str) -> None:
    for sent in (text, json.dumps(text)):
        snapshot = parse_snapshot(f'{{"timestamp":1777492800,"spot":1,"{field}": {sent} }}'.encode())
        assert getattr(snapshot, field) == text
        assert snapshot.extra is None
    assert getattr(parsed(**{field: None}), field) is None


def test_unknown_fields_are_kept_as_they_were_sent() -> None:
    unknown = '"price":1.10,"big":12345678901234567890123,"café \\"x\\"":{"a":[1, 2E+3],"a":null},"":"\\u00e9"'
    snapshot = parse_snapshot(f'{{"timestamp":1777492800,{unknown},"spot":1}}'.encode())
    assert snapshot.extra is not None
    assert json.loads(snapshot.extra, object_pairs_hook=list, parse_float=str, parse_int=str) == [
        ("price", "1.10"),
        ("big", "12345678901234567890123"),
        ('café "x"', [("a", ["1", "2E+3"]), ("a", None)]),
        ("", "é"),
    ]
    assert parsed().extra is None


# What is no record


@pytest.mark.parametrize(
    "record",
    [
        b"", b" ", b"[]", b"5", b'"x"', b"null", b"hello", b"{", b'{"timestamp":1777492800', VENDOR[:-1],
        VENDOR + b"}", VENDOR + VENDOR, b"\xef\xbb\xbf" + VENDOR, b'{"\xff":1}', b"{1:2}",
        b'{"timestamp":1777492800,"spot":1,}',
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(record: bytes) -> None:
    assert refused_fields(record) == [""]


@pytest.mark.parametrize(
    "field", ["ticker", "endpoint", "spot", "timestamp", "strikes", "max_priors", "something_new"]
)
def test_text_that_is_not_utf_8_is_refused(field: str) -> None:
    record = b'{"timestamp":1777492800,"spot":1,"%b":["\xff"]}' % field.encode()
    assert refused_fields(record) == [field]
    assert refused_fields(record.replace(b'["\xff"]', b'"\\ud800"')) == [""]


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("field", ["ticker", "spot", "timestamp", "strikes", "max_priors", "something_new"])
def test_deep_nesting_is_refused(field: str, opening: bytes, closing: bytes) -> None:
    for depth in (10_000, 200_000):
        for tail in (closing * depth, b""):
            value = opening * depth + b"1" + tail
            assert refused_fields(b'{"timestamp":1777492800,"spot":1,"%b":%b}' % (field.encode(), value)) == [""]


# Whatever is sent

NUMBER_TEXTS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(-100_000, 100_000, places=3).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
BLANKS = st.sampled_from(["", "", " ", "\n    ", "\t", "\r\n"])


@st.composite
def vendor_ladders(draw: st.DrawFn) -> str:
    """The text of a ladder in the vendor's shape, with blanks wherever JSON allows them."""

    def array(elements: list[str]) -> str:
        blank = draw(BLANKS)
        return "[" + ",".join(f"{blank}{element}{draw(BLANKS)}" for element in elements) + "]"

    def numbers(count: int) -> list[str]:
        return [draw(NUMBER_TEXTS) for _ in range(count)]

    return array([array([*numbers(3), array(numbers(5))]) for _ in range(draw(st.integers(1, 4)))])


def exact(strikes: list[Strike]) -> list[Any]:
    """Values that are equal only when every bit is."""

    def bits(value: float | None) -> str | None:
        return None if value is None else float(value).hex()

    return [
        (*map(bits, numbers), None if priors is None else list(map(bits, priors))) for *numbers, priors in strikes
    ]


def reference(text: str) -> list[Strike] | None:
    """What a ladder of arrays says; None when a number in it is too large for a double."""
    found: list[Strike] = []
    for strike in json.loads(text):
        values = [strike[0], strike[1], strike[2] if len(strike) > 2 else None]
        priors = strike[3] if len(strike) > 3 else None
        try:
            numbers = [None if value is None else float(value) for value in [*values, *(priors or [])]]
        except OverflowError:
            return None
        if any(value is not None and math.isinf(value) for value in numbers):
            return None
        found.append((numbers[0], numbers[1], numbers[2], None, None if priors is None else numbers[3:]))
    return found


def assert_read_like_the_reference(text: str) -> None:
    record = b'{"timestamp":1777492800,"spot":1,"strikes":%b}' % text.encode()
    if (expected := reference(text)) is None:
        assert refused_fields(record)[0].split(".")[0] == "strikes"
    else:
        assert exact(ladder(parse_snapshot(record))) == exact(expected)


@settings(deadline=None, max_examples=250)
@given(vendor_ladders())
@example("[[6890,-0,-0.0,[18446744073709551615,9223372036854775808,9007199254740993,5e-324,1e308]]]")
@example("[[1,2,3,[1,2,3,4,1e309]]]")
@example("[[1,2,3,[1,2,3,4,18446744073709551616]]]")
def test_the_vendors_ladder_is_read_value_for_value(text: str) -> None:
    assert_read_like_the_reference(text)


NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
ARRAYS = st.one_of(
    st.tuples(NUMBERS, NUMBERS, NUMBERS, st.lists(NUMBERS, min_size=5, max_size=5)),
    st.tuples(NUMBERS, NUMBERS | st.none()),
    st.tuples(NUMBERS, NUMBERS, NUMBERS | st.none(), st.none() | st.lists(NUMBERS | st.none(), max_size=7)),
)


@settings(deadline=None, max_examples=250)
@given(st.lists(ARRAYS, max_size=5), st.sampled_from([None, 0, 2, "\t"]), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_a_ladder_of_any_arrays_is_read_value_for_value(
    strikes: list[Any], indent: int | str | None, separators: tuple[str, str]
) -> None:
    assert_read_like_the_reference(json.dumps(strikes, indent=indent, separators=separators))


JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["timestamp", "ticker", "endpoint", "strikes", "spot", "min_dte", "max_priors", "max_change", "net_gex", "new"]
)
STRIKES = st.lists(
    st.lists(JSON, max_size=5)
    | st.dictionaries(st.sampled_from(["strike", "gamma", "gamma_now", "vanna", "history"]), JSON),
    max_size=3,
)


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        st.binary(),
        JSON.map(lambda value: json.dumps(value).encode()),
        st.dictionaries(FIELDS, JSON | NUMBER_TEXTS).map(lambda fields: json.dumps(MINIMAL | fields).encode()),
        STRIKES.map(
            lambda strikes: json.dumps(MINIMAL | {"strikes": strikes}, ensure_ascii=False).encode("utf-8", "replace")
        ),
        st.tuples(st.integers(0, len(VENDOR)), st.text(max_size=3)).map(
            lambda place: VENDOR[: place[0]] + place[1].encode("utf-8", "replace") + VENDOR[place[0] + 1 :]
        ),
    )
)
def test_no_bytes_raise_anything_but_a_record_error(record: bytes) -> None:
    with suppress(RecordError):
        snapshot = parse_snapshot(record)
        ladder(snapshot)
        assert all(value is None or math.isfinite(value) for value in snapshot.numbers)
        assert snapshot.extra is None or isinstance(json.loads(snapshot.extra, parse_int=str), dict)


# Nothing that was sent is dropped


def test_unknown_fields_of_a_strike_keep_the_whole_ladder_in_extra() -> None:
    strikes = b'[{"strike":15000,"gamma":1,"charm":0.25}]'
    snapshot = parse_snapshot(b'{"timestamp":1777492800,"strikes":%b}' % strikes)
    assert snapshot.extra is not None
    assert json.loads(snapshot.extra) == {"strikes": json.loads(strikes)}


def test_a_ladder_of_known_fields_only_is_not_kept_twice() -> None:
    record = b'{"timestamp":1777492800,"strikes":[{"strike":15000,"gamma":1},[1,2]]}'
    assert parse_snapshot(record).extra is None


def test_a_second_spot_price_is_kept_in_extra() -> None:
    snapshot = parse_snapshot(b'{"timestamp":1777492800,"spot":1.5,"spot_price":2.5}')
    assert (snapshot.numbers[0], snapshot.extra) == (1.5, '{"spot_price":2.5}')


def test_gamma_stands_in_for_a_gamma_now_that_is_null() -> None:
    snapshot = parse_snapshot(b'{"timestamp":1777492800,"strikes":[{"strike":1,"gamma_now":null,"gamma":7}]}')
    assert snapshot.strikes.table[0, 1] == 7


def test_max_priors_that_is_a_text_without_json_in_it_is_kept_as_a_json_text() -> None:
    snapshot = parse_snapshot(b'{"timestamp":1777492800,"spot":1,"max_priors":"garbage"}')
    assert snapshot.max_priors == '"garbage"'
