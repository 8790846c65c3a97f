"""Many snapshots of one feed read column by column: the fast path of history files.

It reads what `parse_snapshot` would read from the same records, value for value, or declines. It declines whatever
is not plain: the caller then takes the records one by one, which is slower and says what is wrong with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import Feed, normalise_endpoint, normalise_ticker
from gex_pipeline.formats.columns import SNAPSHOTS_SCHEMA, join_ladders, strikes_table
from gex_pipeline.formats.gexbot import (
    COLUMN_OF,
    ENDPOINT_KEYS,
    JSON_COLUMNS,
    WHOLE_COLUMNS,
    Strikes,
    flat_numbers,
    json_array,
    json_member,
    parse_strikes,
    parse_timestamp,
    parse_vendor_ladders,
)
from gex_pipeline.formats.history_file import Fields

RawColumns = Mapping[str, Sequence[msgspec.Raw]]

_numbers = msgspec.json.Decoder(list[float | None])
_integers = msgspec.json.Decoder(list[int])
_text = msgspec.json.Decoder(str)
_values = msgspec.json.Decoder()


@dataclass(frozen=True)
class DayColumns:
    """Snapshots of one feed and their strikes.

    Attributes:
        timestamps: epoch milliseconds UTC, one for each snapshot.
        snapshots: SNAPSHOTS_SCHEMA.
        strikes: STRIKES_SCHEMA.
    """

    timestamps: list[int]
    snapshots: pa.Table
    strikes: pa.Table


class _NotPlainError(Exception):
    """The records have something that is better read one by one."""


def read_day_columns(records: Sequence[Fields], feed: Feed) -> DayColumns | None:
    """Read records that all have the same fields in the same order; None when it declines."""
    try:
        return _read(records, feed)
    except (_NotPlainError, RecordError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _read(records: Sequence[Fields], feed: Feed) -> DayColumns:
    names = tuple(records[0])
    if any(tuple(record) != names for record in records):
        raise _NotPlainError
    raw: RawColumns = dict(zip(names, zip(*(record.values() for record in records), strict=True), strict=True))
    numbers = [(COLUMN_OF[name], raw[name]) for name in names if name in COLUMN_OF]
    columns: dict[str, pa.Array] = _number_columns(dict(numbers))
    if len(columns) < len(numbers):
        raise _NotPlainError
    columns |= {name: _json_column(raw[name]) for name in names if name in JSON_COLUMNS}
    _require_feed(raw, feed)
    timestamps = _timestamps(raw)
    strikes, sizes = _ladders(raw)
    if "spot_price" not in columns or columns["spot_price"].null_count:
        raise _NotPlainError
    unknown = [name for name in names if name not in _KNOWN]
    if unknown:
        columns["extra"] = pa.array(
            ["{" + ",".join(json_member(name, record[name]) for name in unknown) + "}" for record in records]
        )
    rows = len(records)
    columns |= {
        "timestamp": pa.array(timestamps, pa.int64()),
        "ticker": pa.repeat(feed.ticker, rows),
        "endpoint": pa.repeat(feed.endpoint, rows),
    }
    snapshots = pa.Table.from_arrays(
        [columns.get(field.name, pa.nulls(rows, field.type)) for field in SNAPSHOTS_SCHEMA], schema=SNAPSHOTS_SCHEMA
    )
    total = len(strikes.table)
    owners = np.repeat(np.array(timestamps, np.int64), sizes)
    ladders = strikes_table(owners, pa.repeat(feed.ticker, total), pa.repeat(feed.endpoint, total), strikes)
    return DayColumns(timestamps, snapshots, ladders)


_KNOWN = {"timestamp", "ticker", "strikes", *COLUMN_OF, *JSON_COLUMNS, *ENDPOINT_KEYS}


def _number_columns(raw: RawColumns) -> dict[str, pa.Array]:
    """Read the numbers of all columns at once where none is null or anything but a number, and else one by one."""
    text = json_array([value for values in raw.values() for value in values])
    flat = flat_numbers(text) if text.count(b"[") == 1 else None
    if flat is None:
        return {name: _number_column(values, whole=name in WHOLE_COLUMNS) for name, values in raw.items()}
    table = dict(zip(raw, flat.reshape(len(raw), -1), strict=True)) if raw else {}
    for name in WHOLE_COLUMNS & table.keys():
        if (table[name] % 1).any() or (np.abs(table[name]) >= 2**31).any():
            raise _NotPlainError
    return {name: pa.array(numbers, SNAPSHOTS_SCHEMA.field(name).type) for name, numbers in table.items()}


def _number_column(values: Sequence[msgspec.Raw], *, whole: bool) -> pa.Array:
    decoded = _numbers.decode(json_array(values))
    numbers = np.array(decoded, np.float64)  # NaN, never a value here, stands for null
    if np.isinf(numbers).any():
        raise _NotPlainError
    if not whole:
        return pa.array(numbers, from_pandas=True)
    if (np.nan_to_num(numbers) % 1).any() or (np.nan_to_num(np.abs(numbers)) >= 2**31).any():
        raise _NotPlainError
    return pa.array([None if number is None else int(number) for number in decoded], pa.int32())


def _json_column(values: Sequence[msgspec.Raw]) -> pa.Array:
    """Keep JSON arrays and objects as they were sent; null is None; a string may itself hold JSON: declined."""
    text = json_array(values)
    if flat_numbers(text) is None:  # nothing but numbers in arrays is quicker to look through
        _values.decode(text)
    texts = [bytes(value) for value in values]
    if any(text.startswith(b'"') for text in texts):
        raise _NotPlainError
    return pa.array([None if text == b"null" else text.decode() for text in texts], pa.string())


def _timestamps(raw: RawColumns) -> list[int]:
    if "timestamp" not in raw:
        raise _NotPlainError
    return [parse_timestamp(value) for value in _integers.decode(json_array(raw["timestamp"]))]


def _require_feed(raw: RawColumns, feed: Feed) -> None:
    """Decline records that name another ticker or endpoint, or the endpoint under two names."""
    endpoint_keys = [key for key in ENDPOINT_KEYS if key in raw]
    tickers = {normalise_ticker(_text.decode(value)) for value in set(map(bytes, raw.get("ticker", ())))}
    endpoints = {
        normalise_endpoint(_text.decode(value)) for key in endpoint_keys for value in set(map(bytes, raw[key]))
    }
    if len(endpoint_keys) > 1 or tickers - {feed.ticker} or endpoints - {feed.endpoint}:
        raise _NotPlainError


def _ladders(raw: RawColumns) -> tuple[Strikes, npt.NDArray[np.int64]]:
    if "strikes" not in raw:
        raise _NotPlainError
    if (vendors := parse_vendor_ladders(raw["strikes"])) is not None:
        return vendors
    ladders = [parse_strikes(ladder) for ladder in raw["strikes"]]
    if any(ladder.has_unknown_fields for ladder in ladders):
        raise _NotPlainError
    return join_ladders(ladders), np.array([len(ladder.table) for ladder in ladders])
