"""Feeds and the names they go by: ticker and endpoint, read from payloads, URLs and file names."""

import datetime as dt
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from gex_pipeline.errors import RecordError

DEFAULT_ENDPOINT = "gex_zero"
_ENDPOINT_ALIASES = {"zero": "gex_zero", "one": "gex_one", "full": "gex_full"}
_TICKER = re.compile(r"[A-Z0-9][A-Z0-9._^-]{0,31}")
_ENDPOINT = re.compile(r"[a-z0-9][a-z0-9_]{0,31}")
_HISTORY_NAME = re.compile(
    r"(?P<date>\d{4}-?\d{2}-?\d{2})_(?P<ticker>[A-Za-z0-9.^-]+(?:_[A-Za-z0-9.^-]+)*?)"
    r"(?:_(?P<package>classic|state|orderflow))?(?:_(?P<endpoint>gex_[a-z]+|zero|one|full))?(?:_history)?"
)
_DATE = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)")


@dataclass(frozen=True, order=True)
class Feed:
    """One stream of snapshots: a ticker and an endpoint, both normalised and safe as path components."""

    ticker: str
    endpoint: str

    @property
    def key(self) -> str:
        """The partition key of the `feed` dimension, `NQ_NDX:gex_zero`."""
        return f"{self.ticker}:{self.endpoint}"

    @classmethod
    def parse(cls, key: str) -> "Feed":
        """Read `TICKER:endpoint`.

        Raises:
            RecordError: the key has no colon, or either half is not a name.
        """
        ticker, colon, endpoint = key.partition(":")
        if not colon:
            raise RecordError.of("feed", key, "TICKER:endpoint, for example NQ_NDX:gex_zero")
        return cls(normalise_ticker(ticker), normalise_endpoint(endpoint))


@dataclass(frozen=True)
class WantedFeed:
    """A feed that is to be there, day for day.

    Attributes:
        first: its first trading day; None: whatever is the first that is known of it.
    """

    feed: Feed
    first: dt.date | None = None

    @classmethod
    def parse(cls, text: str) -> "WantedFeed":
        """Read `TICKER:endpoint` or `TICKER:endpoint@YYYY-MM-DD`.

        Raises:
            RecordError: the feed is none, or the day.
        """
        key, at, first = text.partition("@")
        feed = Feed.parse(key.strip())
        return cls(feed, parse_day(f"first day of {feed.key}", first.strip()) if at else None)

    def wants(self, date: dt.date) -> bool:
        """Tell whether a trading day is to be there."""
        return self.first is None or date >= self.first


def is_feed(ticker: object, endpoint: object) -> bool:
    """Tell whether a user's own rows have names that a feed can have."""
    try:
        return Feed.parse(f"{ticker}:{endpoint}") == Feed(str(ticker), str(endpoint))
    except RecordError:
        return False


def normalise_ticker(value: object) -> str:
    """Upper-case a ticker; RecordError for what is not a plain name (a path, SQL, spaces)."""
    ticker = value.strip().upper() if isinstance(value, str) and value.isascii() else ""
    if not _TICKER.fullmatch(ticker) or ".." in ticker:
        raise RecordError.of("ticker", value, "a ticker such as SPX or NQ_NDX")
    return ticker


def normalise_endpoint(value: object) -> str:
    """Lower-case and resolve `zero`, `one`, `full`; None is the default. RecordError for what is no name."""
    if value is None:
        return DEFAULT_ENDPOINT
    endpoint = value.strip().lower() if isinstance(value, str) and value.isascii() else ""
    if not _ENDPOINT.fullmatch(endpoint):
        raise RecordError.of("endpoint", value, "an endpoint such as gex_zero, gex_one or gex_full")
    return _ENDPOINT_ALIASES.get(endpoint, endpoint)


@dataclass(frozen=True)
class HistoryName:
    """What a history file's name says; None where it is silent."""

    ticker: str | None
    endpoint: str | None
    date: dt.date | None


def read_history_name(url_or_path: str) -> HistoryName:
    """Read ticker, endpoint and trading day from the last path component of a URL or path.

    `2025-10-21_NQ_NDX_classic_gex_zero.json`, `2025-11-14_SPX_classic.json` and our own
    `20251114_NQ_NDX_gex_zero_history.json.gz` are understood. Any other name yields at most a date.
    """
    name = unquote(PurePosixPath(urlsplit(url_or_path).path).name)
    stem = name.removesuffix(".gz")
    for suffix in (".json", ".jsonl", ".ndjson"):
        stem = stem.removesuffix(suffix)
    if found := _HISTORY_NAME.fullmatch(stem):
        endpoint = normalise_endpoint(found["endpoint"]) if found["endpoint"] else None
        with suppress(RecordError):
            return HistoryName(normalise_ticker(found["ticker"]), endpoint, read_date(found["date"]))
    return HistoryName(None, None, read_date(name))


def read_date(text: str) -> dt.date | None:
    """Find the first valid `YYYY-MM-DD` or `YYYYMMDD` in a text; None when there is none."""
    for year, month, day in _DATE.findall(text):
        try:
            return dt.date(int(year), int(month), int(day))
        except ValueError:
            continue
    return None


def parse_day(field: str, text: str) -> dt.date:
    """Read a day that somebody named; RecordError for what is none."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise RecordError.of(field, text, "a day such as 2025-11-14") from error


def request_id(feed: Feed, date: dt.date) -> int:
    """Return the id of the request for this feed and day: always the same, below 2**53 so that JSON keeps it."""
    digest = hashlib.blake2b(f"{feed.key}|{date.isoformat()}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 11
