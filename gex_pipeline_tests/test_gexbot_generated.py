"""Generated GexBot snapshots against a slow reading, and whatever else is sent."""

import json
import math
from contextlib import suppress
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gex_pipeline.errors import RecordError
from gex_pipeline.formats.gexbot import parse_snapshot
from gex_pipeline_tests.gexbot_records import MINIMAL, VENDOR, Strike, ladder, refused_fields

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
