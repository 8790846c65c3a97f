"""Telling operators: one message to every address of GEX_NOTIFY_URLS."""

import logging
from concurrent.futures import ThreadPoolExecutor

import apprise

from gex_pipeline.settings import Settings

# Even where an address cannot be reached, one message takes no longer.
SEND_SECONDS = 20.0

logger = logging.getLogger(__name__)

# Its messages name addresses, which are secrets.
logging.getLogger("apprise").setLevel(logging.CRITICAL)


def notify(settings: Settings, title: str, body: str) -> bool:
    """Send a message; return whether every address took it. A failure is logged and never raised.

    The text must hold no secret: addresses of other people see it.
    """
    numbers = range(len(settings.notify_urls))
    with ThreadPoolExecutor(max(1, len(numbers))) as pool:
        return all(pool.map(lambda number: notify_one(settings, number, title, body), numbers))


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
