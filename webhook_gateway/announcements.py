"""What a `POST /gex_history_url` means: which file, of which feed and day, and whether it may be fetched."""

import datetime as dt
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from gex_pipeline.errors import FieldProblem, RecordError
from gex_pipeline.feeds import Feed, normalise_endpoint, normalise_ticker, read_date, read_history_name
from gex_pipeline.hosts import is_allowed_host

_TICKER_KEYS = ("ticker", "symbol", "underlying")
_ENDPOINT_KEYS = ("endpoint", "feed", "kind", "type", "gex_type")
_DATE_KEYS = ("date", "trading_day", "day")
_ENDPOINT_NAME = re.compile(r"gex[a-z0-9_]*", re.IGNORECASE)
_ENDPOINT_ALIASES = ("zero", "one", "full")


@dataclass(frozen=True)
class Announced:
    """A history file somebody offers. The URL may carry a signature: it is a secret."""

    feed: Feed
    date: dt.date
    url: str
    metadata: object


def read_announcement(body: bytes, allowed_hosts: tuple[str, ...]) -> Announced:
    """Read a request; ticker, endpoint and day in the file's name win over the body's.

    Raises:
        RecordError: not a JSON object, no URL or one that may not be fetched, or no ticker or day anywhere.
    """
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError.of("", "this body", f"a JSON object with a url ({error})") from error
    url = _checked_url(fields.get("url"), allowed_hosts)
    name = read_history_name(url)
    ticker = name.ticker or _first(fields, _TICKER_KEYS)
    if ticker is None:
        raise RecordError.of("ticker", "nothing", "a ticker in the body or in the URL's file name")
    date = name.date or _body_date(fields)
    if date is None:
        raise RecordError.of("date", "nothing", "a date such as 2025-11-14 in the URL's file name or in the body")
    return Announced(
        Feed(normalise_ticker(ticker), name.endpoint or normalise_endpoint(_body_endpoint(fields))),
        date,
        url,
        fields.get("metadata"),
    )


def _checked_url(value: object, allowed_hosts: tuple[str, ...]) -> str:
    """Return an http(s) URL to an allowed host; the error never shows a query string."""
    if not isinstance(value, str) or not value:
        raise RecordError(FieldProblem("url", "nothing" if value is None else type(value).__name__, "a URL"))
    try:
        parts = urlsplit(value)
        is_allowed = is_allowed_host(parts, allowed_hosts)
    except ValueError as error:
        raise RecordError(FieldProblem("url", "not a URL", "an https URL")) from error
    if not is_allowed:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"[:80]
        expected = f"https, no user name, on one of {', '.join(allowed_hosts)} (GEX_HISTORY_HOSTS)"
        raise RecordError(FieldProblem("url", shown, expected))
    return value


def _first(fields: dict[str, object], keys: tuple[str, ...]) -> object:
    return next((fields[key] for key in keys if fields.get(key) not in (None, "")), None)


def _body_endpoint(fields: dict[str, object]) -> object:
    """Return what names the endpoint: one of the known keys, else any string field that starts with `gex`."""
    named = [fields[key] for key in _ENDPOINT_KEYS if isinstance(fields.get(key), str)]
    for value in [*named, *(value for key, value in fields.items() if key != "url")]:
        if isinstance(value, str) and (
            _ENDPOINT_NAME.fullmatch(value.strip()) or value.strip().lower() in _ENDPOINT_ALIASES
        ):
            return value
    return None


def _body_date(fields: dict[str, object]) -> dt.date | None:
    metadata = fields.get("metadata")
    for source in (fields, metadata if isinstance(metadata, dict) else {}):
        value = _first(source, _DATE_KEYS)
        if isinstance(value, str) and (date := read_date(value)):
            return date
    return None
