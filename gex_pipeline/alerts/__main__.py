"""The process that watches a gateway and tells operators: `python -m gex_pipeline.alerts`."""

import argparse
import logging
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests
import urllib3
from filelock import FileLock, Timeout

from gex_pipeline.alerts.conditions import QUARANTINE_MS, Observation, find
from gex_pipeline.alerts.feeds_seen import FeedsSeen
from gex_pipeline.alerts.memory import Memory, read_memory, write_memory
from gex_pipeline.alerts.messages import compose
from gex_pipeline.alerts.sending import Sender
from gex_pipeline.alerts.telling import decide
from gex_pipeline.clock import epoch_ms
from gex_pipeline.logs import configure_logging
from gex_pipeline.settings import Settings, SettingsError, load_settings
from gex_pipeline.stop_signal import StopSignal
from gex_pipeline.trading_days import recent_since_ms, session_opened_ms

LOOK_SECONDS = 2.0
ANSWER_SECONDS = 5.0
SAVE_MS = 60_000
TAKEOVER_SECONDS = 60.0
LAST_WORDS_SECONDS = 2.0
ALONE_SECONDS = 30.0

logger = logging.getLogger("gex_pipeline.alerts")


def parser() -> argparse.ArgumentParser:
    """Return the command line's flags."""
    flags = argparse.ArgumentParser(prog="python -m gex_pipeline.alerts", description=__doc__)
    flags.add_argument("--gateway", required=True, metavar="URL", help="the gateway that is watched")
    flags.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input ends")
    return flags


def main() -> int:
    """Read the flags and watch until SIGTERM or SIGINT.

    When the parent ends, go on until its gateway answers again, started by somebody else, or operators know.
    """
    flags = parser().parse_args()
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.stderr.write(f"alerts: {error}\n")
        return 2
    configure_logging(settings, "alerts")
    stop = StopSignal(watch_input=False)
    lock = FileLock(settings.journal_dir / ".alerts.lock")
    try:
        with lock.acquire(timeout=TAKEOVER_SECONDS, cancel_check=lambda: _stops(stop)):
            _watch(settings, flags.gateway, stop, exit_with_stdin=flags.exit_with_stdin)
    except Timeout:
        if stop.is_set:
            return 0
        sys.stderr.write(f"alerts: somebody else watches {settings.journal_dir}; stop it first\n")
        return 1
    return 0


def _watch(settings: Settings, url: str, stop: StopSignal, *, exit_with_stdin: bool) -> None:
    """Look, decide and tell, again and again."""
    memory = read_memory(settings.journal_dir)
    feeds = FeedsSeen(settings.journal_dir, memory.last_seen_ms)
    sender = Sender(settings)
    gateway = _gateway_session()
    taking_since_ms, saved_at_ms = epoch_ms(), 0
    logger.info("watching %s; %d addresses are told", url, len(settings.notify_urls))
    while not stop.is_set:
        is_alone = exit_with_stdin and _input_has_ended()
        seen = _look(settings, gateway, url, feeds, taking_since_ms)
        if not seen.is_taking:
            taking_since_ms = seen.now_ms
        news, memory.standings = decide(memory.standings, find(seen, settings), seen.now_ms)
        for title, text in compose(news, seen.now_ms):
            logger.info("telling operators: %s; %s", title, text.partition("\n")[0])
            sender.send(title, text)
        if news or abs(seen.now_ms - saved_at_ms) >= SAVE_MS:
            saved_at_ms = seen.now_ms
            _remember(settings, memory, feeds)
        if is_alone and (not isinstance(seen.ready, str) or memory.standings["gateway"].is_told):
            break
        stop.wait(LOOK_SECONDS)
    _remember(settings, memory, feeds)
    sender.wait(LAST_WORDS_SECONDS if stop.is_set else ALONE_SECONDS)


def _look(
    settings: Settings, gateway: requests.Session, url: str, feeds: FeedsSeen, taking_since_ms: int
) -> Observation:
    ready = _ask(gateway, url)
    try:
        feeds.read_on()
    except OSError as error:
        logger.debug("the journal could not be read: %s", error)
    now_ms = epoch_ms()
    return Observation(
        now_ms=now_ms,
        ready=ready,
        taking_since_ms=taking_since_ms,
        quarantined=_count_since(settings.quarantine_dir, now_ms - QUARANTINE_MS),
        last_seen_ms=feeds.last_ms,
        session_opened_ms=session_opened_ms(now_ms),
        recent_since_ms=recent_since_ms(now_ms),
    )


def _gateway_session() -> requests.Session:
    """Make a session for our own gateway, whose certificate is made out to another name than its address."""
    session = requests.Session()
    session.trust_env = False
    session.verify = False
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    # A connection that stays open would hold up the end of a gateway that serves https.
    session.headers["Connection"] = "close"
    return session


def _ask(gateway: requests.Session, url: str) -> dict[str, Any] | str:
    """Return the checks of `/ready`, or why there are none."""
    try:
        checks: dict[str, Any] = gateway.get(f"{url}/ready", timeout=ANSWER_SECONDS).json()["checks"]
    except (requests.RequestException, KeyError, TypeError) as error:
        return f"GET {url}/ready failed: {type(error).__name__}"
    return checks


def _count_since(folder: Path, since_ms: int) -> int:
    """Count the files below a folder that were written since a moment; those that go away meanwhile do not count."""
    count = 0
    for path in folder.rglob("*.jsonl"):
        with suppress(FileNotFoundError):
            count += path.stat().st_mtime_ns >= since_ms * 1_000_000
    return count


def _remember(settings: Settings, memory: Memory, feeds: FeedsSeen) -> None:
    memory.last_seen_ms = feeds.last_ms
    try:
        write_memory(settings.journal_dir, memory)
    except OSError as error:
        logger.debug("what was told could not be written down: %s", error)


def _input_has_ended() -> bool:
    return bool(select.select([0], [], [], 0)[0])


def _stops(stop: StopSignal) -> bool:
    stop.wait(0)
    return stop.is_set


if __name__ == "__main__":
    sys.exit(main())
