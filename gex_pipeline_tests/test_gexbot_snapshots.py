"""GexBot snapshots: every spelling of a time, a name or a number that is accepted, and every one that is refused."""

import datetime as dt
import json
import time
from typing import Any

import msgspec
import pytest

from gex_pipeline.formats.gexbot import NUMBER_COLUMNS, Snapshot, parse_snapshot, parse_timestamp
from gex_pipeline_tests.gexbot_records import PRIORS, VENDOR, ladder, parsed, refused, refused_fields, refused_text


def number(snapshot: Snapshot, column: str) -> float | None:
    return snapshot.numbers[NUMBER_COLUMNS.index(column)]


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
