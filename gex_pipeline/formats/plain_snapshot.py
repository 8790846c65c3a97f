"""Checking a snapshot without building its values: all that the gateway needs before it keeps the bytes.

The vendor's own shape is decoded into declared types. Whatever is not plainly that goes to `parse_snapshot`, whose
verdict and whose words count: nothing is accepted here that it would refuse.
"""

from functools import lru_cache
from typing import Annotated, Any

import msgspec
import simdjson

from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import normalise_endpoint, normalise_ticker
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
_ticker = lru_cache(maxsize=1024)(normalise_ticker)
_endpoint = lru_cache(maxsize=1024)(normalise_endpoint)


def check_snapshot(body: bytes) -> str | None:
    """Return the normalised ticker of a snapshot that `parse_snapshot` can read; None when it names none.

    Raises:
        RecordError: exactly when `parse_snapshot` does, with the same problems.
    """
    ticker = _plain_ticker(body)
    return parse_snapshot(body).ticker if ticker is None else ticker


def _plain_ticker(body: bytes) -> str | None:
    """Return the ticker of a plain snapshot, None for any other body."""
    if not body.isascii():  # fields that stay unread may hold text that is not UTF-8
        return None
    try:
        plain = _decoder.decode(body)
        if not _is_vendor_ladder(bytes(plain.strikes)):
            return None
        parse_timestamp(plain.timestamp)
        for name in (plain.endpoint, plain.category, plain.gex_type):
            if name is not None:
                _endpoint(name)
        return _ticker(plain.ticker)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RecordError):
        return None


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
