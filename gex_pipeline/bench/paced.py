"""A live session's requests at their times: `python -m gex_pipeline.bench.paced PORT PER_SECOND SECONDS`.

Every delay is counted from when the request was due, so a server that stalls is charged for all that had to wait.
"""

import asyncio
import sys
import time
from dataclasses import dataclass

import msgspec
import numpy as np
import uvloop

from gex_pipeline.bench.load import SAMPLE
from gex_pipeline.bench.turns import say
from gex_pipeline.clock import epoch_ms
from gex_pipeline.demo.sessions import snapshots

CLIENTS = 10
TICKERS, ENDPOINTS = 40, ("gex_zero", "gex_one", "gex_full")
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class PacedRun:
    """What the clients saw.

    Attributes:
        sent: requests that were due.
        failed: those of them without a 202, whatever the reason.
    """

    sent: int
    failed: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    slowest_ms: float


async def send_at_their_times(port: int, per_second: float, seconds: float) -> PacedRun:
    """Post one snapshot after the other, each of the next feed, over connections that stay open."""
    sample = next(iter(snapshots(SAMPLE)))
    due = iter(range(int(per_second * seconds)))
    started = time.perf_counter()
    delays: list[float] = []
    failed = 0

    async def client() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in due:
            due_at = started + number / per_second
            await asyncio.sleep(due_at - time.perf_counter())
            body = _body(sample, number)
            writer.write(b"POST /gex HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
                failed += not head.startswith(b"HTTP/1.1 202")
            except (OSError, EOFError, TimeoutError):
                failed += 1
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            delays.append(time.perf_counter() - due_at)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    p50, p95, p99 = (float(value) * 1000 for value in np.percentile(delays, (50, 95, 99)))
    return PacedRun(len(delays), failed, p50, p95, p99, max(delays) * 1000)


def _body(sample: dict[str, object], number: int) -> bytes:
    """Return the snapshot a feed would send now."""
    feed = number % (TICKERS * len(ENDPOINTS))
    named = {"ticker": f"T{feed % TICKERS}", "endpoint": ENDPOINTS[feed // TICKERS]}
    return msgspec.json.encode(sample | named | {"timestamp": epoch_ms()})


if __name__ == "__main__":
    say(uvloop.run(send_at_their_times(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))))
