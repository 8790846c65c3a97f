"""A sample session that goes on, so that whoever looks at the page sees it move."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count, islice

import requests

from gex_pipeline.demo.sessions import Session, snapshots

WHOLE_DAY = 23_400


def what_follows(session: Session) -> Iterator[dict[str, object]]:
    """Yield what a session's feed sends after it, until the close."""
    day = snapshots(replace(session, snapshots=WHOLE_DAY))
    return ({**snapshot, "endpoint": session.feed.endpoint} for snapshot in islice(day, session.snapshots, None))


def post_on(gateway: str, sessions: Sequence[Session], *, pause_seconds: float = 1.0) -> None:
    """Post what follows these sessions in step: the next snapshot of each, a pause, and so on until one closes.

    A gateway that does not answer misses snapshots, as it would in real life.
    """
    began = time.monotonic()
    with requests.Session() as client:
        for turn, together in zip(count(), zip(*map(what_follows, sessions), strict=False), strict=False):
            time.sleep(max(0.0, began + turn * pause_seconds - time.monotonic()))
            for snapshot in together:
                with suppress(requests.ConnectionError, requests.Timeout):
                    client.post(f"{gateway}/gex", json=snapshot, timeout=10)
