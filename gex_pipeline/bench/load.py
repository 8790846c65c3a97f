"""Clients that post snapshots one after the other: `python -m gex_pipeline.bench.load PORT CLIENTS SECONDS`.

In a process of its own and with as little work per request as Python allows, so that the server is the bottleneck.
"""

import asyncio
import datetime as dt
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import msgspec
import numpy as np
import uvloop

from gex_pipeline.bench.turns import BenchmarkError, say
from gex_pipeline.demo.sessions import Session, snapshots
from gex_pipeline.feeds import Feed

WARM_UP_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
SAMPLE = Session(feed=Feed("NQ_NDX", "gex_zero"), date=dt.date(2025, 11, 14), snapshots=1, strikes=100)
_ACCEPTED, _REFUSED = b"HTTP/1.1 202", b"HTTP/1.1 503"


@dataclass(frozen=True)
class LoadRun:
    """What the clients saw.

    Attributes:
        body_bytes: of each request.
        answered: requests with an answer, those of the warm-up too.
        refused: those of them that were to be sent again (503).
        requests_per_second: accepted, after the warm-up; the delays are theirs.
    """

    body_bytes: int
    answered: int
    refused: int
    requests_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class _Client(asyncio.Protocol):
    """One connection: the next request goes out when the last one is answered."""

    def __init__(self, requests: Iterator[bytes], accepted: list[tuple[float, float]], ends_at: float) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.refused = 0
        self._requests, self._accepted, self._ends_at = requests, accepted, ends_at
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not _is_whole(self._answer):
            return
        now = time.perf_counter()
        if self._answer.startswith(_ACCEPTED):
            self._accepted.append((now, now - self._sent_at))
        elif self._answer.startswith(_REFUSED):
            self.refused += 1
        else:
            self._fail(self._answer[:300].decode(errors="replace"))
            return
        if now < self._ends_at:
            self._answer = b""
            self._send()
        else:
            self._transport.close()
            self.ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was closed: {exc}")

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))

    def _fail(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(BenchmarkError(reason))


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    return bool(end) and len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])


def _requests() -> Iterator[bytes]:
    """Yield requests without end; each is another snapshot, a millisecond after the last."""
    sample = next(iter(snapshots(SAMPLE)))
    first_ms = int(str(sample.pop("timestamp"))) * 1000
    rest = msgspec.json.encode(sample)[1:]
    body_bytes = len(b'{"timestamp":%d,' % first_ms) + len(rest)
    head = (
        b"POST /gex HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % body_bytes
    )
    for timestamp in itertools.count(first_ms):
        yield b'%s{"timestamp":%d,%s' % (head, timestamp, rest)


async def post(port: int, clients: int, seconds: float) -> LoadRun:
    """Let the clients post for so long.

    Raises:
        BenchmarkError: an answer other than 202 and 503, or none.
    """
    loop = asyncio.get_running_loop()
    requests = _requests()
    body_bytes = len(next(requests).partition(b"\r\n\r\n")[2])
    accepted: list[tuple[float, float]] = []
    counts_from = time.perf_counter() + WARM_UP_SECONDS
    ends_at = counts_from + seconds
    connections = [
        await loop.create_connection(lambda: _Client(requests, accepted, ends_at), "127.0.0.1", port)
        for _ in range(clients)
    ]
    async with asyncio.timeout(WARM_UP_SECONDS + seconds + PATIENCE_SECONDS):
        await asyncio.gather(*(client.ended for _, client in connections))
    counted = [took for at, took in accepted if counts_from <= at < ends_at]
    if not counted:
        raise BenchmarkError(f"nothing was accepted within {seconds:g} s")
    p50, p95, p99 = (float(value) * 1000 for value in np.percentile(counted, (50, 95, 99)))
    refused = sum(client.refused for _, client in connections)
    return LoadRun(body_bytes, len(accepted) + refused, refused, len(counted) / seconds, p50, p95, p99)


if __name__ == "__main__":
    say(uvloop.run(post(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
