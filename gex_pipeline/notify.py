"""Telling operators: one message to every address of GEX_NOTIFY_URLS."""

import logging

import apprise

from gex_pipeline.settings import Settings

logger = logging.getLogger(__name__)


def notify(settings: Settings, title: str, body: str) -> bool:
    """Send a message; return whether every address took it. A failure is logged and never raised.

    The text must hold no secret: addresses of other people see it.
    """
    if not settings.notify_urls:
        return True
    messenger = apprise.Apprise()
    for number, url in enumerate(settings.notify_urls, start=1):
        if not messenger.add(url.get_secret_value()):
            logger.warning("address %d of GEX_NOTIFY_URLS is not one that Apprise knows", number)
    sent = bool(messenger.notify(body=body, title=title))
    if not sent:
        logger.warning("not every address of GEX_NOTIFY_URLS took the message: %s", title)
    return sent
