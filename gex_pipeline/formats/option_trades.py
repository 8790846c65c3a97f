"""Option trades in Unusual Whales messages: typed, exact, each field declared once."""

import dataclasses
import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
import pyarrow as pa

from gex_pipeline.errors import FieldProblem, RecordError
from gex_pipeline.formats.unusual_whales import Message, decode


class _JsonNumber(str):
    """A JSON number with a point or an exponent, as written: exact, and told apart from a JSON string."""

    __slots__ = ()


_ANY = msgspec.json.Decoder(Any, float_hook=_JsonNumber)


@dataclass(frozen=True, slots=True)
class OccSymbol:
    """An option contract as its OCC symbol names it; `strike` in dollars."""

    root: str
    expiry: dt.date
    option_type: Literal["call", "put"]
    strike: Decimal


_OCC_EXPECTED = "an OCC symbol: root, yymmdd, C or P, strike x 1000 in 8 digits, such as SPY251121C00500000"
_OCC_SYMBOL = re.compile(r"([A-Z0-9.]{1,6})( *)([0-9]{6})([CP])([0-9]{8})")


def parse_occ(symbol: str) -> OccSymbol:
    """Read an OCC symbol, its root padded with spaces to six characters or not at all.

    Raises:
        RecordError: anything else, or an expiry that is no date.
    """
    try:
        return _occ(symbol)
    except ValueError as error:
        raise RecordError.of("option_symbol", symbol, _OCC_EXPECTED) from error


def _occ(symbol: str) -> OccSymbol:
    found = _OCC_SYMBOL.fullmatch(symbol)
    if not found or (found[2] and len(found[1] + found[2]) != 6):
        raise ValueError
    day, strike = found[3], found[5]
    return OccSymbol(
        root=found[1],
        expiry=dt.date(2000 + int(day[:2]), int(day[2:4]), int(day[4:])),
        option_type="call" if found[4] == "C" else "put",
        strike=Decimal(f"{strike[:5]}.{strike[5:]}"),
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of column is read, stored and explained; `parse` raises ValueError for a wrong value."""

    parse: Callable[[Any], object]
    arrow: pa.DataType
    expected: str
    missing: object = None


_NUMBER = re.compile(r"-?([0-9]+(\.[0-9]+)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_ISO_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECONDS_BELOW = 10**11  # as seconds the year 5138, as milliseconds 1973: no time of a trade is both
_EARLIEST_MS, _LATEST_MS = 946_684_800_000, 4_102_444_800_000  # 2000-01-01 and 2100-01-01
_DECIMAL = pa.decimal128(38, 18)


def _number(value: object) -> Decimal:
    if type(value) is int or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        number = Decimal(value)
        if number.adjusted() < 20:
            return number
    raise ValueError


def _price(value: object) -> Decimal:
    number = _number(value)
    if _decimal_places(number) > 18:
        raise ValueError
    return number


def _decimal_places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _count(value: object) -> int:
    number = _number(value)
    count = int(number)
    if count != number or not -(2**63) <= count < 2**63:
        raise ValueError
    return count


def _double(value: object) -> float:
    return float(_number(value))


def _epoch_ms(value: object) -> int:
    if isinstance(value, str) and _ISO_TIME.match(value):
        moment = dt.datetime.fromisoformat(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        epoch_ms = (moment - _EPOCH) // dt.timedelta(milliseconds=1)
    else:
        number = _number(value)
        epoch_ms = int(number * 1000 if number < _SECONDS_BELOW else number)
    if not _EARLIEST_MS <= epoch_ms < _LATEST_MS:
        raise ValueError
    return epoch_ms


def _date(value: object) -> dt.date:
    if isinstance(value, str) and _ISO_DATE.fullmatch(value):
        return dt.date.fromisoformat(value)
    raise ValueError


def _text(value: object) -> str:
    if type(value) is str:
        return value
    raise ValueError


def _name(value: object) -> str:
    name = _text(value)
    if not name.strip():
        raise ValueError
    return name


def _option_type(value: object) -> str:
    if (option_type := _text(value).lower()) in {"call", "put"}:
        return option_type
    raise ValueError


def _option_symbol(value: object) -> str:
    symbol = _text(value)
    _occ(symbol)
    return symbol


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(map(_text, value))
    raise ValueError


_INTEGER_DIGITS = "a finite number of at most 20 digits before the point"
_NAME = _Kind(_name, pa.string(), "a non-empty string")
_TIME = _Kind(_epoch_ms, pa.int64(), "an ISO 8601 time or epoch milliseconds, between 2000 and 2100")
_SYMBOL = _Kind(_option_symbol, pa.string(), _OCC_EXPECTED)
_EXPIRY = _Kind(_date, pa.date32(), "a date, YYYY-MM-DD")
_TYPE = _Kind(_option_type, pa.string(), "call or put")
_PRICE = _Kind(_price, _DECIMAL, f"{_INTEGER_DIGITS} and 18 after it")
_Price = Annotated[Decimal | None, _PRICE]
# Greeks come as the shortest text of a double, often with 19 to 21 decimals: a double holds them as sent.
_Computed = Annotated[float | None, _Kind(_double, pa.float64(), "a finite number")]
_Count = Annotated[int | None, _Kind(_count, pa.int64(), "a whole number of at most 64 bits")]
_Text = Annotated[str | None, _Kind(_text, pa.string(), "a string")]
_Flag = Annotated[bool | None, _Kind(_flag, pa.bool_(), "true or false")]
_Words = Annotated[tuple[str, ...], _Kind(_words, pa.list_(pa.string()), "an array of strings", missing=())]


@dataclass(frozen=True, slots=True)
class OptionTrade:
    """One option trade; the order of its fields is the order of the table's columns.

    Prices and premium are in dollars, `executed_at_ms` is epoch milliseconds UTC, the `*_vol` counts are the
    contract's running volume of the day by side. What was not sent is None, or empty for `tags` and
    `report_flags`. Every Decimal is exactly the number that was sent.
    """

    id: Annotated[str, _NAME]
    executed_at_ms: Annotated[int, _TIME]
    option_symbol: Annotated[str | None, _SYMBOL]
    underlying_symbol: Annotated[str, _NAME]
    expiry: Annotated[dt.date, _EXPIRY]
    option_type: Annotated[Literal["call", "put"], _TYPE]
    strike: Annotated[Decimal, _PRICE]
    price: _Price
    size: _Count
    premium: _Price
    underlying_price: _Price
    volume: _Count
    open_interest: _Count
    ask_vol: _Count
    bid_vol: _Count
    mid_vol: _Count
    no_side_vol: _Count
    multi_vol: _Count
    stock_multi_vol: _Count
    nbbo_bid: _Price
    nbbo_ask: _Price
    ewma_nbbo_bid: _Computed
    ewma_nbbo_ask: _Computed
    implied_volatility: _Computed
    delta: _Computed
    gamma: _Computed
    theta: _Computed
    vega: _Computed
    rho: _Computed
    theo: _Computed
    exchange: _Text
    trade_code: _Text
    sector: _Text
    tags: _Words
    report_flags: _Words
    is_agg: _Flag
    canceled: _Flag


_ALIASES = {
    "executed_at_ms": ("executed_at",),
    "option_symbol": ("option_chain_id", "option_symbol"),
    "underlying_symbol": ("underlying_symbol", "ticker", "underlying"),
    "trade_code": ("trade_code", "upstream_condition_detail"),
}
_FIELDS: list[tuple[str, tuple[str, ...], _Kind]] = [
    (name, _ALIASES.get(name, (name,)), hint.__metadata__[0])
    for name, hint in get_type_hints(OptionTrade, include_extras=True).items()
]
_REQUIRED = {"id", "executed_at_ms"}
_CONTRACT = ("underlying_symbol", "expiry", "option_type", "strike")


def trades(message: Message) -> list[OptionTrade]:
    """Read the trades of an `option_trades*` message; any other message has none.

    The payload is a trade, a list of trades, or either of them under `data`.

    Raises:
        RecordError: a trade is wrong; names each wrong or missing field by its path, `data.0.price`.
    """
    if message.is_control or not message.topic.startswith("option_trades"):
        return []
    payload, path = decode(_ANY, message.payload, "payload", "an option trade"), ""
    if isinstance(payload, dict) and "data" in payload:
        payload, path = payload["data"], "data."
    if isinstance(payload, list):
        return [_trade(item, f"{path}{index}.") for index, item in enumerate(payload)]
    return [_trade(payload, path)]


def _trade(sent: object, path: str) -> OptionTrade:
    if not isinstance(sent, dict):
        raise RecordError(_problem(path.removesuffix("."), sent, "an option trade object"))
    values: dict[str, Any] = {}
    problems: list[FieldProblem] = []
    for name, sources, kind in _FIELDS:
        values[name] = kind.missing
        for source in sources:
            if (value := sent.get(source)) is not None:
                break
        else:
            if name in _REQUIRED:
                problems.append(_problem(path + sources[0], None, kind.expected))
            continue
        try:
            values[name] = kind.parse(value)
        except ValueError:
            problems.append(_problem(path + source, value, kind.expected))
    if problems:
        raise RecordError(*problems)
    missing = [name for name in _CONTRACT if values[name] is None]
    if missing and values["option_symbol"] is None:
        raise RecordError(*(_problem(path + name, None, "this, or an option_chain_id") for name in missing))
    if missing:
        contract = dict(zip(_CONTRACT, dataclasses.astuple(_occ(values["option_symbol"])), strict=True))
        values |= {name: contract[name] for name in missing}
    return OptionTrade(**values)


def _problem(field: str, value: object, expected: str) -> FieldProblem:
    match value:
        case None:
            value = "nothing"
        case dict():
            value = "an object"
        case list():
            value = "an array"
    return RecordError.of(field, value, expected).problems[0]


TRADES_SCHEMA = pa.schema(
    [("received_at", pa.int64()), ("topic", pa.string())]
    + [(name.removesuffix("_ms"), kind.arrow) for name, _, kind in _FIELDS]
)


def trades_table(rows: Sequence[tuple[int, str, OptionTrade]]) -> pa.Table:
    """Arrange (received at in epoch milliseconds UTC, topic, trade) as rows of `option_trades_events`."""
    received_at = [received_at_ms for received_at_ms, _, _ in rows]
    columns = [received_at, [topic for _, topic, _ in rows]]
    columns += [[getattr(trade, name) for _, _, trade in rows] for name, _, _ in _FIELDS]
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, TRADES_SCHEMA, strict=True)],
        schema=TRADES_SCHEMA,
    )
