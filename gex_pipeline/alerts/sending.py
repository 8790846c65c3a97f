"""Sending without waiting: each address has a thread of its own, so that one which hangs holds up no other."""

import logging
import threading
import time
from queue import Queue

from gex_pipeline.notify import notify_one
from gex_pipeline.settings import Settings

# A message that was not taken is tried again after these pauses, and then given up. Those after it wait for it: an
# alert must not come after its end.
RETRY_SECONDS = (10.0, 60.0, 300.0, 600.0, 1200.0)

logger = logging.getLogger("gex_pipeline.alerts")


class Sender:
    """Sends messages to every address of GEX_NOTIFY_URLS, each once unless an address does not take it."""

    def __init__(self, settings: Settings) -> None:
        """Start a thread for each address; they end with the process."""
        self._queues: list[Queue[tuple[str, str]]] = []
        for number in range(len(settings.notify_urls)):
            queue: Queue[tuple[str, str]] = Queue()
            self._queues.append(queue)
            threading.Thread(target=_keep_sending, args=(settings, number, queue), daemon=True).start()

    def send(self, title: str, text: str) -> None:
        """Hand a message over; this never waits."""
        for queue in self._queues:
            queue.put((title, text))

    def wait(self, seconds: float) -> None:
        """Return when everything was sent or given up, or after so many seconds."""
        deadline = time.monotonic() + seconds
        while any(queue.unfinished_tasks for queue in self._queues) and time.monotonic() < deadline:
            time.sleep(0.02)


def _keep_sending(settings: Settings, number: int, queue: Queue[tuple[str, str]]) -> None:
    while True:
        title, text = queue.get()
        for pause in (*RETRY_SECONDS, None):
            if notify_one(settings, number, title, text):
                break
            if pause is None:
                logger.error("address %d of GEX_NOTIFY_URLS never took the message: %s", number + 1, title)
            else:
                time.sleep(pause)
        queue.task_done()
