"""The strikes of a GexBot snapshot: every shape that is accepted, and what is refused by its place."""

import json

import pytest

from gex_pipeline.formats.gexbot import parse_snapshot
from gex_pipeline_tests.gexbot_records import PRIORS, VENDOR, Strike, ladder, parsed, refused, refused_text

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
