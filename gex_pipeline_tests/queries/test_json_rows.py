"""Rows written as JSON read back as they were, whatever is in them."""

import json
import math
from typing import Any

import pyarrow as pa
import pytest

from gex_pipeline.queries.json_rows import PIECE_ROWS, json_pieces

SCHEMA = pa.schema(
    [
        ("timestamp", pa.int64()),
        ("ticker", pa.string()),
        ("spot_price", pa.float64()),
        ("min_dte", pa.int32()),
        ("priors", pa.list_(pa.float64())),
        ("extra", pa.string()),
    ]
)
NOTHING: dict[str, Any] = dict.fromkeys(SCHEMA.names)
ODD = [
    NOTHING | {"timestamp": 0, "ticker": 'a "quote", a \\ and ü\n\x01\u2028', "extra": '{"a":[1,"x"],"b":null}'},
    NOTHING | {"timestamp": -1, "spot_price": 1e300, "min_dte": -3, "extra": "null"},
    NOTHING | {"timestamp": 2**62, "spot_price": 0.1 + 0.2, "priors": [1.5, None], "extra": " [ ] "},
    NOTHING | {"timestamp": 3, "spot_price": -5e-324, "priors": [], "ticker": ""},
    NOTHING | {"timestamp": 4, "spot_price": 7145.0, "ticker": "}]"},
]


def written(rows: list[dict[str, Any]]) -> Any:
    return json.loads(b"".join(json_pieces(pa.Table.from_pylist(rows, SCHEMA))))


def as_read(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"extra": row["extra"] and json.loads(row["extra"])}


def test_odd_values_are_read_back_as_they_were() -> None:
    assert written(ODD) == [as_read(row) for row in ODD]


@pytest.mark.parametrize("row", ODD)
def test_a_single_row_is_too(row: dict[str, Any]) -> None:
    assert written([row]) == [as_read(row)]


@pytest.mark.parametrize("count", [0, 1, PIECE_ROWS, PIECE_ROWS + 1, 3 * PIECE_ROWS])
def test_any_number_of_rows_is_one_array(count: int) -> None:
    rows = [ODD[number % len(ODD)] | {"timestamp": number} for number in range(count)]
    assert written(rows) == [as_read(row) for row in rows]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_null(value: float) -> None:
    found = written([NOTHING | {"spot_price": value}, NOTHING | {"spot_price": 1.0}])
    assert [row["spot_price"] for row in found] == [None, 1.0]


@pytest.mark.parametrize("text", ["no JSON", "1],[2", '"a', "", "[1", "{} {}", "nan"])
def test_what_should_be_json_and_is_not_is_a_text(text: str) -> None:
    found = written([NOTHING | {"extra": text}, NOTHING | {"extra": "[1]"}, NOTHING])
    assert [row["extra"] for row in found] == [text, [1], None]
