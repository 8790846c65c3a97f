"""Readers beside a live session and imports: how long they wait, and what captures feel of them."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import requests

from gex_pipeline.bench.paced import PacedRun
from gex_pipeline.bench.query_reader import ARROW, JSON, Query, QueryFigures, ask
from gex_pipeline.bench.servers import GATEWAY, Server, running
from gex_pipeline.bench.session_files import FULL_SESSION
from gex_pipeline.bench.turns import BenchmarkError, Tell, clean_environment, in_fresh_process, scratch_folder
from gex_pipeline.clock import epoch_ms
from gex_pipeline.storage.lease import lease
from gex_pipeline.trading_days import session_bounds_ms

PER_SECOND = 120
PUBLISHED_DAYS = 3
HOUR_MS, HOUR_ROWS = 3_600_000, 3_600
# Hours begin, and ladders are, at as many moments, a minute apart.
STARTS = 60
LIVE = "LIVE"
FOUR = "spot_price,zero_gamma,sum_gex_vol"
NEWEST = "newest snapshot"
PUBLISHED_HOUR, TODAYS_HOUR = (f"one hour, {place}, all columns, JSON" for place in ("published", "today"))


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
        readers = _readers(_fill_session(server))
        _capture_first(server)
        for queries in readers:
            ask(server.port, queries, 0)  # the first queries of a process load DuckDB and Arrow
        with _importing(server, day, folder) as imported:
            tell(f"{PER_SECOND} captures/s for {seconds:g} s, without readers")
            alone = _load(server, seconds, folder)
            tell(f"{PER_SECOND} captures/s for {seconds:g} s, with readers")
            before = len(imported)
            with ThreadPoolExecutor(len(readers)) as threads:
                asked = [threads.submit(_ask, server, queries, seconds, folder) for queries in readers]
                beside = _load(server, seconds, folder)
            figures = {name: figures for each in asked for name, figures in each.result().items()}
            during = len(imported) - before
    return QueryRun(figures, during, alone, beside)


def _readers(ends_ms: int) -> list[dict[str, Query]]:
    """Return what two readers ask, by name, for a live session that has its last snapshot then (epoch ms UTC)."""
    opened_ms, _ = session_bounds_ms(FULL_SESSION.date)
    last_hour_ms = ends_ms + 1000 - HOUR_MS
    starts = {
        "published": (
            FULL_SESSION.feed.key,
            [opened_ms + HOUR_MS + step * HOUR_MS // STARTS for step in range(STARTS)],
        ),
        "today": (f"{LIVE}:gex_zero", [last_hour_ms]),
    }
    queries = {}
    for place, (feed, moments) in starts.items():
        hours = [f"/gex?feed={feed}&start={start_ms}&end={start_ms + HOUR_MS}" for start_ms in moments]
        for name, media_type, rows in (("JSON", JSON, HOUR_ROWS), ("Arrow", ARROW, None)):
            queries[f"one hour, {place}, all columns, {name}"] = Query(hours, media_type, rows)
            few = [f"{hour}&columns={FOUR}" for hour in hours]
            queries[f"one hour, {place}, 4 columns, {name}"] = Query(few, media_type, rows)
        steps = [moments[0] + step * HOUR_MS // STARTS for step in range(STARTS)]
        ladders = [f"/gex/strikes?feed={feed}&at={at_ms}" for at_ms in steps]
        queries[f"one ladder, {place}"] = Query(ladders, JSON)
    return [queries, {NEWEST: Query(["/gex/latest?ticker=T0&endpoint=gex_zero"], JSON, 1)}]


def _ask(server: Server, queries: dict[str, Query], seconds: float, folder: Path) -> dict[str, QueryFigures]:
    encoded = msgspec.json.encode(queries).decode()
    return in_fresh_process("query_reader", server.port, seconds, encoded, cwd=folder, result=dict[str, QueryFigures])


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
