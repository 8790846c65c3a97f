"""GexBot's history API: asked for the URL of a day's file, in turns that all processes share."""

import datetime as dt
import time
from pathlib import Path
from typing import Literal

import requests
from filelock import FileLock
from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from gex_pipeline.errors import DownloadInterruptedError, SourceUnavailableError
from gex_pipeline.history.paths import Partition
from gex_pipeline.outgoing import guarded_session, shown
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import write_whole
from gex_pipeline.trading_days import day_bounds_ms, new_york_time, session_bounds_ms

# GexBot allows one request per second; the margin is for requests that take different times to get there.
TURN_SECONDS = 1.05
TIMEOUT_SECONDS = (10.0, 20.0)
KEPT_DAYS = 90
# A file may appear late in the evening; what is not there by the next noon is not expected any more.
LATE_MS = 12 * 3_600_000

Reason = Literal[
    "not published yet", "no such day", "expired", "key refused", "denied or throttled", "throttled", "unavailable"
]


def ask_api(settings: Settings, partition: Partition, now_ms: int) -> str:
    """Ask GexBot's history API for the signed URL of a partition's file, and note a day that it does not have.

    Args:
        settings: the key, and where the API is.
        partition: whose file.
        now_ms: epoch milliseconds, UTC; what a 404 means depends on it, and what is not even asked for.

    Raises:
        SourceUnavailableError: no key, key refused, not published yet, no such day, or older than GexBot keeps files.
        DownloadInterruptedError: a server error, no sound answer, or a refusal that may be a throttle.
            Both say which in `details["reason"]`, a Reason.
    """
    if settings.gexbot_api_key is None:
        raise SourceUnavailableError("GEXBOT_API_KEY is not set")
    if partition.date < first_kept_day(now_ms):
        raise SourceUnavailableError(
            f"GexBot keeps history files for {KEPT_DAYS} days and {partition.date} is older, so it was not asked: "
            "announce a URL, or import a file you have",
            reason="expired",
        )
    try:
        url = _ask(settings, settings.gexbot_api_key, partition, now_ms)
    except SourceUnavailableError as error:
        if error.details.get("reason") == "no such day":
            write_whole(partition.absence(settings), f"{dt.datetime.now(dt.UTC).isoformat()} {error}\n".encode())
        raise
    partition.absence(settings).unlink(missing_ok=True)
    return url


def _ask(settings: Settings, key: SecretStr, partition: Partition, now_ms: int) -> str:
    feed = partition.feed
    base = settings.gexbot_api_url.rstrip("/")
    url = f"{base}/hist/{feed.ticker}/classic/{feed.endpoint}/{partition.date.isoformat()}?noredirect"
    headers = {"Authorization": f"{settings.gexbot_auth_scheme} {key.get_secret_value()}"}
    time.sleep(take_turn(settings.source_dir))
    try:
        with (
            guarded_session() as session,
            session.get(url, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False) as answer,
        ):
            _refuse(answer.status_code, shown(url), partition, now_ms)
            return str(answer.json()["url"])
    except (requests.RequestException, HTTPError, TimeoutError) as error:
        # A library's own text may hold the whole URL and is left out.
        text = f"{shown(url)} could not be asked: {type(error).__name__}"
        raise DownloadInterruptedError(text, reason="unavailable") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DownloadInterruptedError(f"{shown(url)} did not answer with a url", reason="unavailable") from error


def first_kept_day(now_ms: int) -> dt.date:
    """Return the oldest New York day whose file GexBot still keeps."""
    return new_york_time(now_ms).date() - dt.timedelta(days=KEPT_DAYS)


def may_be_published_later(date: dt.date, now_ms: int) -> bool:
    """Tell whether a file that is not there may still come: until noon, New York, of the next day."""
    return now_ms <= day_bounds_ms(date)[1] + LATE_MS


def take_turn(folder: Path) -> float:
    """Reserve the next turn of all processes that share a folder; return the seconds until then.

    Turns are given in the order in which they are taken. One that was reserved before the clock was set back holds
    nobody up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    turns = folder / ".api.turn"
    with FileLock(turns.with_suffix(".lock"), poll_interval=0.005):
        now = time.time()
        taken_at, reserved = _last_turn(turns)
        turn = max(now, reserved + TURN_SECONDS) if taken_at <= now else now
        turns.write_text(f"{now!r} {turn!r}\n")
    return turn - now


def _last_turn(turns: Path) -> tuple[float, float]:
    """Return when the last turn was taken and when it is (epoch seconds); long ago when there was none."""
    try:
        taken_at, reserved = map(float, turns.read_text().split())
    except (FileNotFoundError, ValueError):
        return 0.0, 0.0
    return taken_at, reserved


def _refuse(status: int, name: str, partition: Partition, now_ms: int) -> None:
    """Raise what a status other than 200 means."""
    if status == 200:
        return
    if status in {404, 410}:
        raise _missing(status, name, partition.date, now_ms)
    if status == 401:
        text = f"{name} answered 401: GexBot refuses the key; check GEXBOT_API_KEY and GEXBOT_AUTH_SCHEME"
        raise SourceUnavailableError(text, reason="key refused", status=status)
    if status == 403:
        text = (
            f"{name} answered 403: either the account may not have {partition.feed.key}, "
            "or it was asked too often; GexBot answers both alike"
        )
        raise DownloadInterruptedError(text, reason="denied or throttled", status=status)
    if status == 429:
        raise DownloadInterruptedError(f"{name} answered 429: asked too often", reason="throttled", status=status)
    if status >= 500:
        text = f"{name} answered {status}: GexBot has a problem"
        raise DownloadInterruptedError(text, reason="unavailable", status=status)
    text = f"{name} answered {status}, which is no file"
    raise SourceUnavailableError(text, reason="unavailable", status=status)


def _missing(status: int, name: str, date: dt.date, now_ms: int) -> SourceUnavailableError:
    if not may_be_published_later(date, now_ms):
        text = f"{name} answered {status}: GexBot has no such day of this feed"
        return SourceUnavailableError(text, reason="no such day", status=status)
    closed_ms = session_bounds_ms(date)[1]
    verb = "closed" if closed_ms <= now_ms else "closes"
    text = (
        f"{name} answered {status}: the file is not published yet; the session {verb} at "
        f"{new_york_time(closed_ms):%H:%M} New York and its file comes later that day, so try again then"
    )
    return SourceUnavailableError(text, reason="not published yet", status=status)
