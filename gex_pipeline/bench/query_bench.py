"""Readers beside a live session and imports: how long they wait, and what captures feel of them."""

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import requests

from gex_pipeline.bench.paced import PacedRun
from gex_pipeline.bench.servers import GATEWAY, Server, running
from gex_pipeline.bench.session_files import FULL_SESSION
from gex_pipeline.bench.turns import BenchmarkError, Tell, clean_environment, in_fresh_process, scratch_folder
from gex_pipeline.clock import epoch_ms
from gex_pipeline.storage.lease import lease
from gex_pipeline.trading_days import session_bounds_ms

PER_SECOND = 120
PUBLISHED_DAYS = 3
# A page asks a few times a second; ten are several pages.
PAUSE_SECONDS = 0.1
HOUR_MS, HOUR_ROWS = 3_600_000, 3_600
LIVE = "LIVE"
FOUR = "spot_price,zero_gamma,sum_gex_vol"
JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
NEWEST = "newest snapshot"


@dataclass(frozen=True)
class QueryFigures:
    """How long one kind of query took.

    Attributes:
        size_bytes: of an answer.
        lacking: answers without all or (503) without anything, as the database could not be asked.
    """

    answers: int
    size_bytes: int
    lacking: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class QueryRun:
    """What readers and captures saw.

    Attributes:
        queries: the readers, by what they asked for.
        imports: how many day files were imported while they asked.
        alone: captures beside the imports, without readers.
        beside: captures beside both.
    """

    queries: dict[str, QueryFigures]
    imports: int
    alone: PacedRun
    beside: PacedRun


def run_queries(day: Path, *, seconds: float, tell: Tell) -> QueryRun:
    """Ask a gateway that takes captures while day files are imported.

    Args:
        day: a history file of FULL_SESSION's feed; each import is of another ticker.
        seconds: of load, once without readers and once with them.
        tell: told what is going on.

    Raises:
        BenchmarkError: an answer that is wrong, or a failed import.
    """
    with scratch_folder() as folder, running(GATEWAY, folder) as server:
        for number in range(PUBLISHED_DAYS):
            tell(f"publish {number + 1} of {PUBLISHED_DAYS} days")
            _import(server, day, folder, f"DAY{number}" if number else FULL_SESSION.feed.ticker)
        reader = Reader(server.port, _queries(_fill_session(server)))
        _capture_first(server)
        reader.ask_all()  # the first queries of a process load DuckDB and Arrow
        reader.answers.clear()
        with _importing(server, day, folder) as imported:
            tell(f"{PER_SECOND} captures/s for {seconds:g} s, without readers")
            alone = _load(server, seconds, folder)
            tell(f"{PER_SECOND} captures/s for {seconds:g} s, with readers")
            before = len(imported)
            thread = threading.Thread(target=reader.run)
            thread.start()
            try:
                beside = _load(server, seconds, folder)
            finally:
                reader.is_over.set()
                thread.join()
            during = len(imported) - before
        reader.close()
    if reader.failure is not None:
        raise reader.failure
    return QueryRun(reader.figures(), during, alone, beside)


def _queries(ends_ms: int) -> dict[str, tuple[str, str]]:
    """Return path and format of each query by its name, for a live session that has its last snapshot then."""
    opened_ms, _ = session_bounds_ms(FULL_SESSION.date)
    starts = {
        "published": (FULL_SESSION.feed.key, opened_ms + HOUR_MS),
        "today": (f"{LIVE}:gex_zero", ends_ms + 1000 - HOUR_MS),
    }
    queries = {}
    for place, (feed, start_ms) in starts.items():
        hour = f"/gex?feed={feed}&start={start_ms}&end={start_ms + HOUR_MS}"
        for name, media_type in (("JSON", JSON), ("Arrow", ARROW)):
            queries[f"one hour, {place}, all columns, {name}"] = hour, media_type
            queries[f"one hour, {place}, 4 columns, {name}"] = f"{hour}&columns={FOUR}", media_type
        queries[f"one ladder, {place}"] = f"/gex/strikes?feed={feed}&at={start_ms + HOUR_MS // 2}", JSON
    return queries | {NEWEST: ("/gex/latest?ticker=T0&endpoint=gex_zero", JSON)}


def _capture_first(server: Server) -> None:
    """Make the feed known of which the newest snapshot is asked for."""
    first = {"timestamp": epoch_ms(), "ticker": "T0", "spot": 1.0}
    requests.post(f"http://127.0.0.1:{server.port}/gex", json=first, timeout=60).raise_for_status()


def _fill_session(server: Server) -> int:
    """Put a session into the database as if it had been captured, and return when it ends (epoch ms UTC): now."""
    ends_ms = epoch_ms() // 1000 * 1000
    feed = f"ticker = '{FULL_SESSION.feed.ticker}'"
    with lease(server.data_dir / "gex_data.db", purpose="fill a session") as connection:
        [[last_ms]] = connection.execute(f"SELECT max(timestamp) FROM gex_snapshots WHERE {feed}").fetchall()
        for table in ("gex_snapshots", "gex_strikes"):
            connection.execute(
                f"INSERT INTO {table} SELECT * REPLACE (timestamp + {ends_ms - last_ms} AS timestamp, "
                f"'{LIVE}' AS ticker, 'live' AS source) FROM {table} WHERE {feed}"
            ).fetchall()
    return ends_ms


@contextmanager
def _importing(server: Server, day: Path, folder: Path) -> Iterator[list[str]]:
    """Import one day file after the other for the length of a block; the list has what was imported."""
    is_over, imported, failures = threading.Event(), list[str](), list[BenchmarkError]()

    def work() -> None:
        while not is_over.is_set():
            ticker = f"LOOP{len(imported)}"
            try:
                _import(server, day, folder, ticker)
            except BenchmarkError as error:
                failures.append(error)
                return
            imported.append(ticker)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield imported
    finally:
        is_over.set()
        thread.join()
    if failures:
        raise failures[0]


def _import(server: Server, day: Path, folder: Path, ticker: str) -> None:
    file = folder / day.name.replace(FULL_SESSION.feed.ticker, ticker)
    file.write_bytes(day.read_bytes().replace(FULL_SESSION.feed.ticker.encode(), ticker.encode()))
    environment = clean_environment() | {"GEX_DATA_DIR": os.fspath(server.data_dir)}
    command = [sys.executable, "-m", "gex_pipeline.cli", "import", str(file)]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    file.unlink()
    if ended.returncode:
        raise BenchmarkError(f"gex import failed: {ended.stderr.strip()[-2000:]}")


def _load(server: Server, seconds: float, folder: Path) -> PacedRun:
    return in_fresh_process("paced", server.port, PER_SECOND, seconds, cwd=folder, result=PacedRun)


class Reader:
    """Asks one query after the other over a connection that stays open."""

    def __init__(self, port: int, queries: dict[str, tuple[str, str]]) -> None:
        """Take path and format of each query, by its name."""
        self.answers: dict[str, list[tuple[float, int, bool]]] = {}
        self.failure: BenchmarkError | None = None
        self.is_over = threading.Event()
        self._queries = queries
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def run(self) -> None:
        """Ask until it is over."""
        try:
            while not self.is_over.is_set():
                self.ask_all()
        except BenchmarkError as error:
            self.failure = error

    def ask_all(self) -> None:
        """Ask each once and note seconds, bytes, and whether something was lacking.

        Raises:
            BenchmarkError: an answer other than 200 and 503, or an hour with other than HOUR_ROWS rows.
        """
        for name, (path, media_type) in self._queries.items():
            started = time.perf_counter()
            self._connection.request("GET", path, headers={"Accept": media_type})
            answer = self._connection.getresponse()
            body = answer.read()
            took = time.perf_counter() - started
            if answer.status not in {200, 503}:
                raise BenchmarkError(f"{name}: {answer.status} {body[:500].decode(errors='replace')}")
            is_lacking = answer.status == 503 or answer.headers["X-Gex-Partial"] is not None
            if (
                not is_lacking
                and "hour" in name
                and media_type == JSON
                and len(msgspec.json.decode(body)) != HOUR_ROWS
            ):
                raise BenchmarkError(f"{name}: other than {HOUR_ROWS:,} rows")
            self.answers.setdefault(name, []).append((took, len(body), is_lacking))
            if self.is_over.wait(PAUSE_SECONDS):
                return

    def close(self) -> None:
        """Ask no more."""
        self._connection.close()

    def figures(self) -> dict[str, QueryFigures]:
        """Return how long each took."""
        return {name: _figures(answers) for name, answers in self.answers.items()}


def _figures(answers: list[tuple[float, int, bool]]) -> QueryFigures:
    took, sizes, lacking = zip(*answers, strict=True)
    p50, p95, p99 = (float(value) * 1000 for value in np.percentile(took, (50, 95, 99)))
    return QueryFigures(len(answers), max(sizes), sum(lacking), p50, p95, p99)
