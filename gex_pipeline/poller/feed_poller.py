"""One feed: ask GexBot, skip what is not new, post the rest to the gateway as any client would."""

import datetime as dt
import logging
import random
import time

import requests
import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from gex_pipeline import __version__
from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import Feed
from gex_pipeline.formats.gexbot import Snapshot, parse_snapshot
from gex_pipeline.outgoing import guarded_session
from gex_pipeline.poller.pauses import pause_seconds, read_retry_after
from gex_pipeline.poller.status import FeedStatus
from gex_pipeline.settings import Settings
from gex_pipeline.trading_days import session_from

# GexBot allows one request per second, ticker and category; its data change no faster.
INTERVAL_SECONDS = 1.0
# The last snapshot of a session appears a moment after the close.
AFTER_CLOSE_MS = 5_000
LONGEST_WAIT_SECONDS = 30.0
GEXBOT_TIMEOUTS = (3.0, 1.0)
GATEWAY_TIMEOUTS = (3.0, 10.0)
MAX_ANSWER_BYTES = 8 * 1024**2

logger = logging.getLogger("gex_pipeline.poller")


class _FailedError(Exception):
    """An attempt failed; the text is safe to show and repeats nothing of the answer."""

    def __init__(self, reason: str, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.retry_after_seconds = read_retry_after(retry_after, dt.datetime.now(dt.UTC))


class FeedPoller:
    """Polls one feed, in one thread."""

    def __init__(self, settings: Settings, feed: Feed, gateway_url: str) -> None:
        """Prepare the sessions; nothing is asked yet."""
        self.feed = feed
        self.status = FeedStatus()
        self._gexbot_url = f"{settings.gexbot_api_url.rstrip('/')}/{feed.ticker}/classic/{feed.endpoint}"
        self._gexbot = guarded_session()
        key = settings.gexbot_api_key.get_secret_value() if settings.gexbot_api_key else ""
        self._gexbot.headers.update(
            {
                "Authorization": f"{settings.gexbot_auth_scheme} {key}",
                "User-Agent": f"gex_pipeline/{__version__}",
                "Accept": "application/json",
            }
        )
        self._gateway_url = f"{gateway_url}/gex"
        self._gateway = _gateway_session(settings)
        self._failures = 0

    def poll(self) -> float:
        """Ask once while the session is on, and return after how many seconds to come again."""
        status, now_ms = self.status, epoch_ms()
        opens_ms, _ = session_from(now_ms - AFTER_CLOSE_MS)
        if now_ms < opens_ms:
            status.error, status.paused_until_ms, self._failures = None, opens_ms, 0
            return min((opens_ms - now_ms) / 1000, LONGEST_WAIT_SECONDS)
        started = time.monotonic()
        status.polled_at_ms = now_ms
        try:
            self._take(opens_ms)
        except _FailedError as failure:
            return self._pause(failure)
        if status.error is not None:
            logger.info("%s: polled again", self.feed.key)
        status.error, status.paused_until_ms, self._failures = None, None, 0
        return max(0.0, INTERVAL_SECONDS - (time.monotonic() - started))

    def _take(self, opens_ms: int) -> None:
        """Ask, and post the answer unless it repeats what was posted or is from before this session."""
        body = self._ask()
        snapshot = self._read(body)
        if snapshot.timestamp_ms > max(self.status.snapshot_ms or 0, opens_ms - 1):
            self._post(_named(body, snapshot, self.feed))
            self.status.snapshot_ms = snapshot.timestamp_ms

    def _ask(self) -> bytes:
        try:
            with self._gexbot.get(
                self._gexbot_url, timeout=GEXBOT_TIMEOUTS, allow_redirects=False, stream=True
            ) as answer:
                if answer.status_code != 200:
                    raise _FailedError(_explain(answer.status_code), answer.headers.get("Retry-After"))
                body: bytes = answer.raw.read(MAX_ANSWER_BYTES + 1, decode_content=True)
        except (requests.RequestException, HTTPError, TimeoutError) as error:
            raise _FailedError(f"GexBot could not be asked: {type(error).__name__}") from None
        if len(body) > MAX_ANSWER_BYTES:
            raise _FailedError(f"GexBot's answer has more than {MAX_ANSWER_BYTES:,} bytes")
        return body

    def _read(self, body: bytes) -> Snapshot:
        try:
            snapshot = parse_snapshot(body)
        except RecordError as error:
            wanted = "; ".join(f"{each.field or 'the body'}: expected {each.expected}" for each in error.problems)
            raise _FailedError(f"GexBot's answer is no snapshot: {wanted}") from None
        answered = Feed(snapshot.ticker or self.feed.ticker, snapshot.endpoint or self.feed.endpoint)
        if answered != self.feed:
            raise _FailedError(f"GexBot answered with {answered.key} when asked for {self.feed.key}")
        return snapshot

    def _post(self, body: bytes) -> None:
        try:
            answer = self._gateway.post(self._gateway_url, data=body, timeout=GATEWAY_TIMEOUTS)
        except requests.RequestException as error:
            raise _FailedError(f"the gateway could not be reached: {type(error).__name__}") from None
        if answer.status_code != 202:
            raise _FailedError(f"the gateway answered {answer.status_code}", answer.headers.get("Retry-After"))

    def _pause(self, failure: _FailedError) -> float:
        self._failures += 1
        seconds = pause_seconds(self._failures, failure.retry_after_seconds, random.random())  # noqa: S311 - jitter
        error = str(failure)
        if error != self.status.error:
            logger.warning("%s: %s; trying again in %.0f s", self.feed.key, error, seconds)
        self.status.error, self.status.paused_until_ms = error, epoch_ms() + round(seconds * 1000)
        return seconds


def _gateway_session(settings: Settings) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    # A connection that stays open would hold up the end of a gateway that serves https.
    session.headers.update({"Content-Type": "application/json", "Connection": "close"})
    if settings.api_key is not None:
        session.headers["X-API-Key"] = settings.api_key.get_secret_value()
    if settings.ssl_certfile is not None:
        # Our own gateway, whose certificate is made out to another name than its address.
        urllib3.disable_warnings(InsecureRequestWarning)
        session.verify = False
    return session


def _named(body: bytes, snapshot: Snapshot, feed: Feed) -> bytes:
    """Return the answer with the ticker and the endpoint it was asked for, where it does not say them itself."""
    missing = b"" if snapshot.ticker else b'"ticker":"%b",' % feed.ticker.encode()
    missing += b"" if snapshot.endpoint else b'"endpoint":"%b",' % feed.endpoint.encode()
    return b"{" + missing + body.lstrip()[1:]


def _explain(status: int) -> str:
    meaning = {
        400: "it has no such ticker or category",
        401: "the key is not accepted",
        403: "the account is not entitled, or it is a throttle",
        404: "it has no such ticker or category",
        429: "it was asked too often",
    }.get(status, "")
    return f"GexBot answered {status}{': ' if meaning else ''}{meaning}"
