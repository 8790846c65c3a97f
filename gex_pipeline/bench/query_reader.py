"""A reader with a connection that stays open: `python -m gex_pipeline.bench.query_reader PORT SECONDS QUERIES`."""

import http.client
import sys
import time
from itertools import cycle

import msgspec
import numpy as np

from gex_pipeline.bench.turns import BenchmarkError, say

# A page asks a few times a second; ten are several pages.
PAUSE_SECONDS = 0.1
_read_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"


class Query(msgspec.Struct, frozen=True):
    """What is asked again and again.

    Attributes:
        paths: asked in turns.
        media_type: the format of the answer.
        rows: that each JSON answer has, unless something was lacking; None: any number.
    """

    paths: list[str]
    media_type: str
    rows: int | None = None


class QueryFigures(msgspec.Struct, frozen=True):
    """How long one kind of query took.

    Attributes:
        size_bytes: of the largest answer.
        lacking: answers without all or (503) without anything, as the database could not be asked.
    """

    answers: int
    size_bytes: int
    lacking: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


def ask(port: int, queries: dict[str, Query], seconds: float) -> dict[str, QueryFigures]:
    """Ask each query once, by its name, and then again for so long.

    Raises:
        BenchmarkError: an answer other than 200 and 503, or with another number of rows.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    answers: dict[str, list[tuple[float, int, bool]]] = {name: [] for name in queries}
    until = time.monotonic() + seconds
    for turn, (name, query) in enumerate(cycle(queries.items())):
        if turn >= len(queries) and time.monotonic() >= until:
            break
        answers[name].append(_ask_once(connection, name, query, turn // len(queries)))
        time.sleep(PAUSE_SECONDS)
    connection.close()
    return {name: _figures(each) for name, each in answers.items()}


def _ask_once(connection: http.client.HTTPConnection, name: str, query: Query, turn: int) -> tuple[float, int, bool]:
    """Return the seconds an answer took, its bytes, and whether it was lacking."""
    started = time.perf_counter()
    connection.request("GET", query.paths[turn % len(query.paths)], headers={"Accept": query.media_type})
    answer = connection.getresponse()
    body = answer.read()
    took = time.perf_counter() - started
    if answer.status not in {200, 503}:
        raise BenchmarkError(f"{name}: {answer.status} {body[:500].decode(errors='replace')}")
    is_lacking = answer.status == 503 or answer.headers["X-Gex-Partial"] is not None
    if query.rows is not None and not is_lacking and len(_read_rows(body)) != query.rows:
        raise BenchmarkError(f"{name}: other than {query.rows:,} rows")
    return took, len(body), is_lacking


def _figures(answers: list[tuple[float, int, bool]]) -> QueryFigures:
    took, sizes, lacking = zip(*answers, strict=True)
    p50, p95, p99 = (float(value) * 1000 for value in np.percentile(took, (50, 95, 99)))
    return QueryFigures(len(answers), max(sizes), sum(lacking), p50, p95, p99)


if __name__ == "__main__":
    say(ask(int(sys.argv[1]), msgspec.json.decode(sys.argv[3], type=dict[str, Query]), float(sys.argv[2])))
