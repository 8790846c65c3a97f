"""Telling operators: one message to every address of GEX_NOTIFY_URLS."""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import apprise

from gex_pipeline.settings import Settings

# Even where an address cannot be reached, one message takes no longer.
SEND_SECONDS = 20.0

logger = logging.getLogger(__name__)

# Its messages name addresses, which are secrets.
logging.getLogger("apprise").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Message:
    """What operators are told. It must hold no secret: addresses of other people see it."""

    title: str
    text: str


def notify(settings: Settings, message: Message, retry_seconds: Sequence[float] = ()) -> list[int]:
    """Send a message to every address; return the places in the list of those that never took it.

    A failure is logged and never raised.

    Args:
        settings: with the addresses.
        message: what is said.
        retry_seconds: pauses, after each of which the addresses that did not take it are tried again.
    """
    left = list(range(len(settings.notify_urls)))
    with ThreadPoolExecutor(max(1, len(left))) as pool:
        for pause in (0.0, *retry_seconds):
            if left:
                time.sleep(pause)
                taken = pool.map(lambda number: notify_one(settings, number, message.title, message.text), left)
                left = [number for number, was_taken in zip(left, list(taken), strict=True) if not was_taken]
    return left


def notify_one(settings: Settings, number: int, title: str, body: str) -> bool:
    """Send a message to one address, known by its place in the list; return whether it took it, as above."""
    messenger = apprise.Apprise()
    if not messenger.add(settings.notify_urls[number].get_secret_value()):
        logger.warning("address %d of GEX_NOTIFY_URLS is not one that Apprise knows", number + 1)
        return False
    sent = bool(messenger.notify(body=body, title=title, timeout=SEND_SECONDS))
    if not sent:
        logger.warning("address %d of GEX_NOTIFY_URLS did not take the message: %s", number + 1, title)
    return sent
