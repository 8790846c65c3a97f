"""A slow and plain reading of records, to hold the fast ones against: with nothing but Python's json."""

import datetime as dt
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

from gex_pipeline.feeds import Feed

_IN_NAMES = str.maketrans("", "", "_.^-")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
WHOLE = ("min_dte", "sec_min_dte")
NUMBERS = (
    "spot_price", "zero_gamma", "net_gex", "min_dte", "sec_min_dte", "major_pos_vol", "major_pos_oi",
    "major_neg_vol", "major_neg_oi", "sum_gex_vol", "sum_gex_oi", "delta_risk_reversal", "net_gex_vol", "net_gex_oi",
)  # fmt: skip
TEXTS = ("max_priors", "max_change")
# A value as `load` returns it: Number, Object, list, str, bool or None.
Json = Any


@dataclass(frozen=True)
class Number:
    """A JSON number, digit for digit."""

    text: str


@dataclass(frozen=True)
class Object:
    """A JSON object with its members in order, repeated ones too."""

    members: tuple[tuple[str, Any], ...]


class BadRecordError(Exception):
    """The record is bad because of the field."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def load(text: str) -> Json:
    """Read JSON with its numbers digit for digit; ValueError where it is none."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(
        text,
        parse_int=Number,
        parse_float=Number,
        parse_constant=refuse,
        object_pairs_hook=lambda pairs: Object(tuple(pairs)),
    )


def read_record(text: str, feed: Feed) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the snapshot's row, `max_priors`, `max_change` and `extra` as read JSON, and the rows of its strikes.

    Raises:
        BadRecordError: it is none of this feed, or none at all.
    """
    try:
        record = load(text)
    except ValueError:
        raise BadRecordError("payload") from None
    if not isinstance(record, Object):
        raise BadRecordError("payload")
    row: dict[str, Any] = dict.fromkeys(("timestamp", "ticker", "endpoint", *NUMBERS, *TEXTS))
    extra: list[tuple[str, Any]] = []
    strikes: list[dict[str, Any]] = []
    for name, value in dict(record.members).items():
        column = "spot_price" if name == "spot" else name
        if column in NUMBERS:
            number = read_number(value, name, is_whole=column in WHOLE)
            if row[column] is None:
                row[column] = int(number) if number is not None and column in WHOLE else number
            else:
                extra.append((name, value))
        elif name == "strikes":
            strikes = read_strikes(value)
            known = {"strike", "gamma_now", "gamma", "oi_gamma", "vanna", "history"}
            objects = [dict(strike.members) for strike in value or () if isinstance(strike, Object)]
            if any(
                named.keys() - known or None not in (named.get("gamma_now"), named.get("gamma")) for named in objects
            ):
                extra.append((name, value))
        elif name in {"endpoint", "category", "gex_type"} and row["endpoint"] is None:
            row["endpoint"] = read_endpoint(value)
        elif name in READ:
            row[name] = READ[name](value)
        else:
            extra.append((name, value))
    for name, is_bad in (
        ("timestamp", row["timestamp"] is None),
        ("spot", row["spot_price"] is None and not strikes),
        ("ticker", row["ticker"] not in {None, feed.ticker}),
        ("endpoint", row["endpoint"] not in {None, feed.endpoint}),
    ):
        if is_bad:
            raise BadRecordError(name)
    named = {"ticker": feed.ticker, "endpoint": feed.endpoint}
    return row | named | {"extra": Object(tuple(extra)) if extra else None}, strikes


def read_number(value: Json, name: str, *, is_whole: bool = False) -> float | None:
    if value is None:
        return None
    text = value.text if isinstance(value, Number) else value
    if not isinstance(text, str) or not set(text) <= set("0123456789.+-eE"):
        raise BadRecordError(name)
    try:
        number = float(int(text)) if isinstance(value, Number) and text.lstrip("-").isdigit() else float(text)
    except (ValueError, OverflowError):
        raise BadRecordError(name) from None
    if not math.isfinite(number) or (is_whole and (number != int(number) or abs(number) >= 2**31)):
        raise BadRecordError(name)
    return number


def read_time(value: Json) -> int:
    text = value.text if isinstance(value, Number) else value
    if not isinstance(text, str):
        raise BadRecordError("timestamp")
    try:
        if set(text.strip()) <= set("0123456789.+-eE"):
            number = Fraction(text.strip())
            milliseconds = round(number * 1000 if number < 10**11 else number)
        else:
            moment = dt.datetime.fromisoformat(text.strip())
            moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
            milliseconds = (moment - EPOCH) // dt.timedelta(milliseconds=1)
    except ValueError:
        raise BadRecordError("timestamp") from None
    if not 946_684_800_000 <= milliseconds < 4_102_444_800_000:  # 2000 to 2100
        raise BadRecordError("timestamp")
    return milliseconds


def read_ticker(value: Json) -> str:
    return read_name(value, "ticker").upper()


def read_endpoint(value: Json) -> str | None:
    endpoint = None if value is None else read_name(value, "endpoint").lower()
    return f"gex_{endpoint}" if endpoint in {"zero", "one", "full"} else endpoint


def read_name(value: Json, name: str) -> str:
    if not isinstance(value, str) or not value.strip().translate(_IN_NAMES).isalnum():
        raise BadRecordError(name)
    return value.strip()


def read_json(value: Json, name: str) -> Json:
    """Return JSON that was sent as it is or in a string, read; the string itself when it holds none."""
    if too_large(value):
        raise BadRecordError(name)
    if isinstance(value, str):
        try:
            held = load(value)
        except ValueError:
            return Held(value)
        return Held(value) if too_large(held) else Held(held)
    return None if value is None else Held(value)


@dataclass(frozen=True)
class Held:
    """What a column of JSON text holds, so that NULL and `null` differ."""

    value: Json


def too_large(value: Json) -> bool:
    """Tell whether a number in the value is infinite as a double."""
    if isinstance(value, Object):
        return any(too_large(member) for _, member in value.members)
    if isinstance(value, list):
        return any(map(too_large, value))
    return isinstance(value, Number) and not value.text.lstrip("-").isdigit() and math.isinf(float(value.text))


def read_strikes(ladder: Json) -> list[dict[str, Any]]:
    if too_large(ladder) or not isinstance(ladder, list | None):
        raise BadRecordError("strikes")
    rows = []
    for position, strike in enumerate(ladder or ()):
        path = f"strikes.{position}"
        values: list[Any]
        if isinstance(strike, list) and 2 <= len(strike) <= 4:
            values = [*strike, *[None] * (4 - len(strike)), None]
        elif isinstance(strike, Object) and "strike" in dict(strike.members):
            named = dict(strike.members)
            values = [named.get(name) for name in ("strike", "gamma_now", "oi_gamma", "history", "vanna")]
            values[1] = named.get("gamma") if values[1] is None else values[1]
        else:
            raise BadRecordError(path)
        level, gamma, oi_gamma, priors, vanna = values
        if level is None:
            raise BadRecordError(f"{path}.0")
        row: dict[str, Any] = {
            "strike": read_number(level, f"{path}.0"),
            "gamma": read_number(gamma, f"{path}.1"),
            "oi_gamma": read_number(oi_gamma, f"{path}.2"),
            "vanna": read_number(vanna, f"{path}.vanna"),
            "priors": None,
        }
        if isinstance(priors, list):
            row["priors"] = [read_number(prior, f"{path}.3.{index}") for index, prior in enumerate(priors)]
        elif priors is not None:
            raise BadRecordError(f"{path}.3")
        rows.append(row)
    return rows


READ: dict[str, Callable[[Any], Any]] = {
    "timestamp": read_time,
    "ticker": read_ticker,
    "max_priors": partial(read_json, name="max_priors"),
    "max_change": partial(read_json, name="max_change"),
}
