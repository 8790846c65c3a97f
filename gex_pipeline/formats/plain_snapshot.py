"""Checking a snapshot without building its values: all that the gateway needs before it keeps the bytes.

The vendor's own shape is decoded into declared types. Whatever is not plainly that goes to `parse_snapshot`, whose
verdict and whose words count: nothing is accepted here that it would refuse.
"""

from functools import lru_cache
from typing import Annotated, Any

import msgspec
import simdjson

from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import DEFAULT_ENDPOINT, Feed, normalise_endpoint, normalise_ticker
from gex_pipeline.formats.gexbot import NUMERAL_BYTES, parse_snapshot, parse_timestamp, vendor_skeleton

_Whole = Annotated[int, msgspec.Meta(gt=-(2**31), lt=2**31)]


class _Plain(msgspec.Struct, gc=False):
    """A snapshot as GexBot sends it; fields that are not named here are kept unread, so any JSON will do."""

    timestamp: int
    ticker: str
    spot: float
    strikes: msgspec.Raw = msgspec.Raw(b"[]")
    endpoint: str | None = None
    category: str | None = None
    gex_type: str | None = None
    zero_gamma: float | None = None
    net_gex: float | None = None
    net_gex_vol: float | None = None
    net_gex_oi: float | None = None
    spot_price: float | None = None
    min_dte: _Whole | None = None
    sec_min_dte: _Whole | None = None
    major_pos_vol: float | None = None
    major_pos_oi: float | None = None
    major_neg_vol: float | None = None
    major_neg_oi: float | None = None
    sum_gex_vol: float | None = None
    sum_gex_oi: float | None = None
    delta_risk_reversal: float | None = None
    max_priors: list[tuple[float, float]] | None = None
    max_change: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_Plain)
_parser = simdjson.Parser()


def check_snapshot(body: bytes) -> tuple[Feed, int]:
    """Return feed and time (epoch milliseconds) of a snapshot that `parse_snapshot` can read.

    Raises:
        RecordError: exactly when `parse_snapshot` does, with the same problems; or it names no ticker.
    """
    if (plain := _check_plain(body)) is not None:
        return plain
    snapshot = parse_snapshot(body)
    if snapshot.ticker is None:
        raise RecordError.of("ticker", "nothing", "a ticker such as SPX or NQ_NDX")
    return Feed(snapshot.ticker, snapshot.endpoint or DEFAULT_ENDPOINT), snapshot.timestamp_ms


def _check_plain(body: bytes) -> tuple[Feed, int] | None:
    """Return feed and time of a plain snapshot, None for any other body."""
    if not body.isascii():  # fields that stay unread may hold text that is not UTF-8
        return None
    try:
        plain = _decoder.decode(body)
        endpoints = [name for name in (plain.endpoint, plain.category, plain.gex_type) if name is not None]
        if len(endpoints) > 1 or not _is_vendor_ladder(bytes(plain.strikes)):  # of several the first one sent counts
            return None
        return _feed(plain.ticker, endpoints[0] if endpoints else None), parse_timestamp(plain.timestamp)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RecordError):
        return None


@lru_cache(maxsize=1024)
def _feed(ticker: str, endpoint: str | None) -> Feed:
    return Feed(normalise_ticker(ticker), normalise_endpoint(endpoint))


def _is_vendor_ladder(strikes: bytes) -> bool:
    """Tell whether a JSON value is a list of `[strike, vol, oi, [5 priors]]`, all of them finite numbers."""
    skeleton = strikes.translate(None, NUMERAL_BYTES)
    if skeleton != vendor_skeleton(len(skeleton) // 12):
        return False
    try:
        _parser.parse(strikes)  # refuses what does not fit a float
    except (ValueError, RuntimeError):
        return False
    return True
