"""The loader process: `python -m gex_pipeline.loader`. Loads until it is told to stop, whatever the database does."""

import argparse
import logging
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from gex_pipeline.errors import GexError
from gex_pipeline.loader.loading import Loader
from gex_pipeline.loader.status import LoaderStatus, read_status, write_status
from gex_pipeline.logs import configure_logging
from gex_pipeline.priority import LOADING, give_way
from gex_pipeline.settings import Settings, SettingsError, load_settings, require_writable
from gex_pipeline.stop_signal import StopSignal
from gex_pipeline.storage.lease_waits import WAITS

IDLE_SECONDS = 0.2
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0
HEARTBEAT_SECONDS = 2.0
TAKEOVER_SECONDS = 15.0
STOPPING_LEASE_SECONDS = 1.0

logger = logging.getLogger("gex_pipeline.loader")


def parser() -> argparse.ArgumentParser:
    """Return the command line's flags."""
    flags = argparse.ArgumentParser(prog="python -m gex_pipeline.loader", description=__doc__)
    flags.add_argument("--data-dir", type=Path, help="folder of the journal and the database (data)")
    flags.add_argument("--once", action="store_true", help="load what is there and exit")
    flags.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input ends")
    return flags


def main() -> int:
    """Read the flags, take the loader's lock and load until SIGTERM, SIGINT or the parent's end."""
    flags = parser().parse_args()
    try:
        settings = load_settings(data_dir=flags.data_dir)
        require_writable(settings.journal_dir)
    except SettingsError as error:
        sys.stderr.write(f"loader: {error}\n")
        return 2
    give_way(LOADING)
    configure_logging(settings, "loader")
    stop = StopSignal(watch_input=flags.exit_with_stdin)
    lock = FileLock(settings.journal_dir / ".loader.lock")
    try:
        with lock.acquire(timeout=TAKEOVER_SECONDS):
            return 0 if _run(settings, stop, once=flags.once) else 1
    except Timeout:
        sys.stderr.write(f"loader: another loader is at work in {settings.journal_dir}; stop it first\n")
        return 1


def _run(settings: Settings, stop: StopSignal, *, once: bool) -> bool:
    """Load until stopped; failures are logged once per reason and retried with growing, jittered pauses.

    Returns:
        False when `once` found that the database cannot be loaded into.
    """
    loader = Loader(settings)
    pauses, told, told_at = retry_pauses(), "", -HEARTBEAT_SECONDS
    current_at = _last_current(settings)
    loader.loaded.newest_ms = _newest_known(settings)
    while True:
        stop.wait(0)
        stopping = stop.is_set
        loaded, error = 0, None
        if stopping:
            loader.lease_timeout_seconds = STOPPING_LEASE_SECONDS
        try:
            loaded = loader.load_next()
            loader.archive_loaded()
        except (GexError, OSError) as failure:
            error = str(failure)
        except MemoryError:
            raise  # the next process begins with fewer records
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            if error != told:
                logger.exception("loading failed")
        if error and error != told:
            logger.warning("not loaded yet, trying again: %s", error)
        if told and not error:
            logger.info("loading again")
        told = error or ""
        now = time.monotonic()
        if not error and not loader.is_behind:
            current_at = now
        if loaded or error or now - told_at > HEARTBEAT_SECONDS:
            told_at = now
            _tell(settings, loader, current_at, error)
        if stopping and (error or not loaded):
            return True
        if once and (error or not loaded):
            return error is None
        if error:
            stop.wait(next(pauses))
        else:
            pauses = retry_pauses()
            # Not after every record: a transaction for each would leave the database to nobody else.
            stop.wait(0 if loader.is_behind else IDLE_SECONDS)


def retry_pauses() -> Iterator[float]:
    """Yield the seconds to wait before each further attempt: twice as long each time, up to a bound, with jitter."""
    pause = FIRST_RETRY_SECONDS
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        pause = min(pause * 2, LONGEST_RETRY_SECONDS)


def _last_current(settings: Settings) -> float | None:
    """Return when the loader before this one last had loaded everything, None when that is not known."""
    before = read_status(settings.journal_dir)
    if before is None or before.current_at is None or before.current_at > time.monotonic():
        return None
    return before.current_at


def _newest_known(settings: Settings) -> dict[str, int]:
    """Return the newest timestamp of each feed that the loader before this one knew of."""
    before = read_status(settings.journal_dir)
    return before.loaded.newest_ms if before else {}


def _tell(settings: Settings, loader: Loader, current_at: float | None, error: str | None) -> None:
    """Leave word for the gateway's readiness answer."""
    position = loader.position
    status = LoaderStatus(
        process=os.getpid(),
        told_at=time.monotonic(),
        segment=position.segment if position else None,
        byte_offset=position.byte_offset if position else None,
        current_at=current_at,
        error=error,
        loaded=loader.loaded,
        waits=WAITS,
    )
    try:
        write_status(settings.journal_dir, status)
    except OSError as failure:
        logger.debug("the status could not be written: %s", failure)


if __name__ == "__main__":
    sys.exit(main())
