"""GexBot classic snapshots: one JSON object in, checked and typed values out.

The gateway validates with this parser and the loader and the history import transform with it, so what is
accepted can always be loaded.
"""

import datetime as dt
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import simdjson

from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import normalise_endpoint, normalise_ticker

Floats = npt.NDArray[np.float64]
Json = bytes | memoryview | msgspec.Raw

NUMBER_COLUMNS = (
    "spot_price",
    "zero_gamma",
    "net_gex",
    "min_dte",
    "sec_min_dte",
    "major_pos_vol",
    "major_pos_oi",
    "major_neg_vol",
    "major_neg_oi",
    "sum_gex_vol",
    "sum_gex_oi",
    "delta_risk_reversal",
    "net_gex_vol",
    "net_gex_oi",
)
WHOLE_COLUMNS = frozenset({"min_dte", "sec_min_dte"})
JSON_COLUMNS = ("max_priors", "max_change")
COLUMN_OF = {name: name for name in NUMBER_COLUMNS} | {"spot": "spot_price"}
_STRIKE_FIELDS = frozenset({"strike", "gamma_now", "gamma", "oi_gamma", "vanna", "history"})
ENDPOINT_KEYS = ("endpoint", "category", "gex_type")

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_anything = msgspec.json.Decoder()
_parser = simdjson.Parser()
_NUMERAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
NUMERAL_BYTES = b"0123456789.eE+- \t\r\n"
_EARLIEST_MS = 946_684_800_000  # 2000-01-01 UTC
_LATEST_MS = 4_102_444_800_000  # 2100-01-01 UTC
_SECONDS_BELOW = 100_000_000_000


@dataclass(frozen=True, slots=True)
class Strikes:
    """The ladder of one snapshot, n strikes.

    Attributes:
        table: n x 3 floats: strike, gamma by volume, gamma by open interest; NaN stands for absent.
        vanna: n floats, or None when no strike has one.
        priors: the prior windows of all strikes one after another (1, 5, 10, 15, 30 minutes ago where complete).
        prior_counts: n integers, how many of `priors` belong to each strike; -1 where there was no list at all.
        has_unknown_fields: a strike was an object and says something that has no column.
    """

    table: Floats
    vanna: Floats | None
    priors: Floats
    prior_counts: npt.NDArray[np.int32]
    has_unknown_fields: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One observation of a feed.

    Attributes:
        timestamp_ms: epoch milliseconds, UTC.
        ticker: normalised; None when the record names none.
        endpoint: normalised; None when the record names none.
        numbers: one value for each of NUMBER_COLUMNS, None where absent.
        max_priors: JSON text as sent, or None.
        max_change: JSON text as sent, or None.
        extra: JSON object of every field that has no column, or None.
        strikes: the ladder, possibly empty.
    """

    timestamp_ms: int
    ticker: str | None
    endpoint: str | None
    numbers: tuple[float | None, ...]
    max_priors: str | None
    max_change: str | None
    extra: str | None
    strikes: Strikes


def parse_snapshot(record: Json) -> Snapshot:
    """Read one snapshot object in any of the shapes that clients and history files use.

    Raises:
        RecordError: it is not a JSON object, has no usable timestamp, or a field has a value of the wrong kind.
    """
    try:
        fields = _fields.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError.of("", _excerpt(record), f"a JSON object ({error})") from error

    numbers: dict[str, float | None] = {}
    texts: dict[str, str | None] = dict.fromkeys(JSON_COLUMNS)
    extra: list[str] = []
    ticker = endpoint = None
    timestamp_ms: int | None = None
    strikes = _NO_STRIKES
    for name, raw in fields.items():
        if column := COLUMN_OF.get(name):
            value = _number(_decode(raw, name), name, whole=column in WHOLE_COLUMNS)
            if numbers.get(column) is None:
                numbers[column] = value
            else:
                extra.append(json_member(name, raw))
        elif name == "strikes":
            strikes = parse_strikes(raw)
            if strikes.has_unknown_fields:
                extra.append(json_member(name, raw))
        elif name == "timestamp":
            timestamp_ms = parse_timestamp(_decode(raw, name))
        elif name == "ticker":
            ticker = normalise_ticker(_decode(raw, name))
        elif name in texts:
            texts[name] = _json_text(_decode(raw, name), raw)
        elif name in ENDPOINT_KEYS and endpoint is None:
            named = _decode(raw, name)
            endpoint = None if named is None else normalise_endpoint(named)
        else:
            extra.append(json_member(name, raw))
    if timestamp_ms is None:
        raise RecordError.of("timestamp", "nothing", "epoch seconds, epoch milliseconds or ISO 8601")
    if numbers.get("spot_price") is None and len(strikes.table) == 0:
        raise RecordError.of("spot", "nothing", "a spot price, strikes, or both")
    return Snapshot(
        timestamp_ms,
        ticker,
        endpoint,
        tuple(numbers.get(column) for column in NUMBER_COLUMNS),
        texts["max_priors"],
        texts["max_change"],
        "{" + ",".join(extra) + "}" if extra else None,
        strikes,
    )


def parse_timestamp(value: object) -> int:
    """Turn epoch seconds, epoch milliseconds or ISO 8601 (UTC when it names no zone) into epoch milliseconds.

    Raises:
        RecordError: none of these, or outside 2000-2100.
    """
    expected = "epoch seconds, epoch milliseconds or ISO 8601 between 2000 and 2100"
    milliseconds: int | None = None
    number: float | None = None
    if isinstance(value, str):
        if _NUMERAL.fullmatch(value.strip()):
            number = float(value)
        else:
            try:
                moment = dt.datetime.fromisoformat(value.strip())
            except ValueError as error:
                raise RecordError.of("timestamp", value, expected) from error
            milliseconds = round((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp() * 1000)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    if number is not None and 0 <= number < _LATEST_MS:  # compares with integers of any size, and not with NaN
        milliseconds = round(number * 1000 if number < _SECONDS_BELOW else number)
    if milliseconds is None or not _EARLIEST_MS <= milliseconds < _LATEST_MS:
        raise RecordError.of("timestamp", value, expected)
    return milliseconds


def parse_strikes(raw: Json) -> Strikes:
    """Read a ladder. The vendor's shape takes a fast path; every other shape goes strike by strike."""
    if (vendors := parse_vendor_ladders([raw])) is not None:
        return vendors[0]
    return _strikes_one_by_one(_decode(raw, "strikes"))


def parse_vendor_ladders(ladders: Sequence[Json]) -> tuple[Strikes, npt.NDArray[np.int64]] | None:
    """Read ladders of `[strike, vol, oi, [5 priors]]` as one flat array of numbers.

    Returns:
        The strikes of all ladders one after another, and how many each ladder has; None when any of them has
        another shape.
    """
    text = json_array(ladders)
    skeleton = text.translate(None, NUMERAL_BYTES)
    # A ladder ends at its first "]]]"; of the 12n + 1 characters of n strikes and the one before 12n - 1 are left.
    sizes = [(len(piece) + 1) // 12 for piece in skeleton.split(b"]]]")[:-1]]
    if 0 in sizes or skeleton != b"[" + b",".join(map(vendor_skeleton, sizes)) + b"]":
        return None
    values = flat_numbers(text)
    count = sum(sizes)
    if values is None or values.size != count * 8 or not np.isfinite(values).all():
        return None
    table = values.reshape(count, 8)
    return Strikes(table[:, :3], None, table[:, 3:].ravel(), np.full(count, 5, np.int32)), np.array(sizes)


@lru_cache(maxsize=1024)
def vendor_skeleton(count: int) -> bytes:
    """Return what is left of `count` strikes `[k, vol, oi, [5 priors]]` when numerals and blanks are removed."""
    return b"[" + b",".join([b"[,,,[,,,,]]"] * count) + b"]"


def json_array(values: Sequence[Json]) -> bytes:
    """Join JSON values to an array; their bytes are copied once."""
    parts: list[Json] = [b","] * (2 * len(values) - 1)
    parts[::2] = values
    return b"".join((b"[", *parts, b"]"))


def flat_numbers(text: bytes) -> Floats | None:
    """Read every number of nested arrays in order; None when simdjson refuses any of them."""
    try:
        numbers = _parser.parse(text)
        return np.frombuffer(numbers.as_buffer(of_type="d")) if isinstance(numbers, simdjson.Array) else None
    except (ValueError, TypeError, RuntimeError):
        return None


def _strikes_one_by_one(ladder: object) -> Strikes:
    """Read arrays of 2-4 and objects, with priors short, empty or missing, and numbers as strings."""
    if ladder is None:
        return _NO_STRIKES
    if not isinstance(ladder, list):
        raise RecordError.of("strikes", ladder, "a list of strikes")
    rows: list[tuple[float | None, float | None, float | None]] = []
    vannas: list[float | None] = []
    priors: list[float | None] = []
    counts: list[int] = []
    for position, strike in enumerate(ladder):
        path = f"strikes.{position}"
        level, gamma, oi_gamma, vanna, history = _strike_values(strike, path)
        if (level := _number(level, f"{path}.0")) is None:
            raise RecordError.of(f"{path}.0", "null", "a strike price")
        rows.append((level, _number(gamma, f"{path}.1"), _number(oi_gamma, f"{path}.2")))
        vannas.append(_number(vanna, f"{path}.vanna"))
        if history is None:
            counts.append(-1)
            continue
        if not isinstance(history, list):
            raise RecordError.of(f"{path}.3", history, "a list of prior values")
        counts.append(len(history))
        priors.extend(_number(prior, f"{path}.3.{index}") for index, prior in enumerate(history))
    return Strikes(
        np.array(rows, dtype=np.float64).reshape(len(rows), 3),
        None if all(vanna is None for vanna in vannas) else _floats(vannas),
        _floats(priors),
        np.array(counts, dtype=np.int32),
        any(isinstance(strike, dict) and _has_more(strike) for strike in ladder),
    )


def _has_more(strike: dict[str, object]) -> bool:
    """Tell whether a strike says something that has no column."""
    return not _STRIKE_FIELDS.issuperset(strike) or None not in (strike.get("gamma_now"), strike.get("gamma"))


def _strike_values(strike: object, path: str) -> tuple[object, object, object, object, object]:
    """Return strike, gamma, oi gamma, vanna and priors of one strike, whatever its shape."""
    if isinstance(strike, list) and 2 <= len(strike) <= 4:
        level, gamma, *rest = strike
        return level, gamma, rest[0] if rest else None, None, rest[1] if len(rest) > 1 else None
    if isinstance(strike, dict) and "strike" in strike:
        gamma = strike.get("gamma") if strike.get("gamma_now") is None else strike["gamma_now"]
        return strike["strike"], gamma, strike.get("oi_gamma"), strike.get("vanna"), strike.get("history")
    raise RecordError.of(path, strike, "[strike, gamma, oi gamma, [priors]] or an object with `strike`")


def _number(value: object, field: str, *, whole: bool = False) -> float | None:
    """Accept a finite number or an unambiguous numeral in a string; None stays None.

    Raises:
        RecordError: anything else, or a fraction where a whole number is meant.
    """
    expected = "a whole number" if whole else "a finite number"
    if value is None:
        return None
    number: float | None = None
    if isinstance(value, str) and _NUMERAL.fullmatch(value):
        number = float(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError as error:
            raise RecordError.of(field, value, expected) from error
    if number is None or not math.isfinite(number) or (whole and (number % 1 or abs(number) >= 2**31)):
        raise RecordError.of(field, value, expected)
    return number


def _decode(raw: Json, field: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return _anything.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise RecordError.of(field, _excerpt(raw), f"valid JSON ({error})") from error


def json_member(field: str, raw: msgspec.Raw) -> str:
    """Return a field as it stands in a JSON object, its value as it was sent."""
    try:
        return f"{msgspec.json.encode(field).decode()}:{bytes(raw).decode()}"
    except UnicodeDecodeError as error:
        raise RecordError.of(field, _excerpt(raw), f"UTF-8 text ({error.reason})") from error


def _json_text(value: object, raw: msgspec.Raw) -> str | None:
    """Keep JSON as it was sent; a string that itself holds JSON is unwrapped; null is None."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            _anything.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return bytes(raw).decode()
        return value
    return bytes(raw).decode()


def _excerpt(record: Json) -> str:
    return bytes(memoryview(record)[:60]).decode(errors="replace")


def _floats(values: Iterable[float | None]) -> Floats:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


_NO_STRIKES = Strikes(np.empty((0, 3)), None, np.empty(0), np.empty(0, np.int32))
