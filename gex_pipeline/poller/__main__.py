"""The poller process: `python -m gex_pipeline.poller`. Asks for every feed of GEX_POLL_FEEDS until told to stop."""

import argparse
import logging
import os
import random
import sys
import threading
from collections.abc import Sequence

from gex_pipeline.clock import epoch_ms
from gex_pipeline.logs import configure_logging
from gex_pipeline.poller.feed_poller import LONGEST_WAIT_SECONDS, FeedPoller
from gex_pipeline.poller.status import PollerStatus, write_status
from gex_pipeline.settings import Settings, SettingsError, load_settings, require_writable
from gex_pipeline.stop_signal import StopSignal
from gex_pipeline.trading_days import new_york_time, session_from

HEARTBEAT_SECONDS = 2.0
STOP_SECONDS = 5.0

logger = logging.getLogger("gex_pipeline.poller")


def parser() -> argparse.ArgumentParser:
    """Return the command line's flags."""
    flags = argparse.ArgumentParser(prog="python -m gex_pipeline.poller", description=__doc__)
    flags.add_argument("--gateway", required=True, metavar="URL", help="where snapshots are posted")
    flags.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input ends")
    return flags


def main() -> int:
    """Read the flags and poll until SIGTERM, SIGINT or the parent's end."""
    flags = parser().parse_args()
    try:
        settings = load_settings()
        require_writable(settings.journal_dir)
    except SettingsError as error:
        sys.stderr.write(f"poller: {error}\n")
        return 2
    configure_logging(settings, "poller")
    stop = StopSignal(watch_input=flags.exit_with_stdin)
    _run(settings, [FeedPoller(settings, feed, flags.gateway) for feed in settings.poll_feeds], stop)
    return 0


def _run(settings: Settings, pollers: Sequence[FeedPoller], stop: StopSignal) -> None:
    """Poll every feed in a thread of its own, and leave word of them until stopped."""
    opens, closes = map(new_york_time, session_from(epoch_ms()))
    names = ", ".join(poller.feed.key for poller in pollers) or "nothing: GEX_POLL_FEEDS is empty"
    logger.info("polling %s; session %s to %s New York", names, f"{opens:%Y-%m-%d %H:%M}", f"{closes:%H:%M}")
    ended = threading.Event()
    threads = [threading.Thread(target=_keep_polling, args=(poller, ended), daemon=True) for poller in pollers]
    for thread in threads:
        thread.start()
    while not stop.is_set:
        _tell(settings, pollers)
        stop.wait(HEARTBEAT_SECONDS)
    ended.set()
    for thread in threads:
        thread.join(STOP_SECONDS)
    _tell(settings, pollers)


def _keep_polling(poller: FeedPoller, ended: threading.Event) -> None:
    seconds = random.random()  # noqa: S311 - feeds take different parts of the second
    while not ended.wait(seconds):
        try:
            seconds = poller.poll()
        except Exception:
            logger.exception("%s: polling failed; trying again", poller.feed.key)
            seconds = LONGEST_WAIT_SECONDS


def _tell(settings: Settings, pollers: Sequence[FeedPoller]) -> None:
    """Leave word for the gateway's readiness answer."""
    status = PollerStatus(os.getpid(), epoch_ms(), {poller.feed.key: poller.status for poller in pollers})
    try:
        write_status(settings.journal_dir, status)
    except OSError as failure:
        logger.debug("the status could not be written: %s", failure)


if __name__ == "__main__":
    sys.exit(main())
