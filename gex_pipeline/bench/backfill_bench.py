"""A backfill of small days through the real thing: `gex up`, its queue and its runs, and a stand-in for GexBot."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from gex_pipeline.bench.turns import BenchmarkError, Tell, clean_environment, free_port, scratch_folder
from gex_pipeline.clock import epoch_ms
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.demo.sessions import Session, write_history_file
from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition
from gex_pipeline.trading_days import sessions_before

PARTITIONS = 60
FEEDS = (Feed("NQ_NDX", "gex_zero"), Feed("SPX", "gex_zero"))
SNAPSHOTS, STRIKES = 50, 10
START_SECONDS, RUN_SECONDS, POLL_SECONDS = 120.0, 900.0, 1.0
ASSETS = (
    "history_file",
    "staged_snapshots",
    "staged_strikes",
    "gex_snapshots",
    "gex_strikes",
    "snapshots_parquet",
    "strikes_parquet",
)
# What the Dagster UI sends for Launch backfill.
_LAUNCH = """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_RUNS = """query ($filter: RunsFilter!) { runsOrError(filter: $filter) {
    __typename ... on Runs { results { status } } } }"""
_FAILURES = """query ($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs { results { eventConnection {
    events { __typename ... on ExecutionStepFailureEvent { error { message } failureMetadata { description } }
             ... on RunFailureEvent { message } } } } } } }"""


@dataclass(frozen=True)
class BackfillRun:
    """What a backfill needed.

    Attributes:
        partitions: imported and exported, one run each.
        seconds: from launching the backfill to the end of its last run.
        first_run_seconds: of them, until the first run had ended; much of it Dagster takes to notice the backfill.
        refused: requests that the API turned down because they came too soon.
    """

    partitions: int
    seconds: float
    first_run_seconds: float
    refused: int

    @property
    def per_partition(self) -> float:
        """Seconds for each partition, all in."""
        return self.seconds / self.partitions


def measure_backfill(*, partitions: int, tell: Tell) -> BackfillRun:
    """Backfill the last trading days of two feeds into an empty data folder.

    Raises:
        BenchmarkError: the system did not start, or a run did not succeed.
    """
    days = sessions_before(epoch_ms(), -(-partitions // len(FEEDS)))
    wanted = [Partition(feed, day) for day in days for feed in FEEDS][:partitions]
    with scratch_folder() as folder:
        files = folder / "gexbot"
        files.mkdir()
        tell(f"write {partitions} history files")
        for each in wanted:
            path = files / f"{each.date}_{each.feed.ticker}_classic_{each.feed.endpoint}.json"
            write_history_file(path, Session(feed=each.feed, date=each.date, snapshots=SNAPSHOTS, strikes=STRIKES))
        with GexBotStandIn(files, rate_limit=True) as gexbot, running_system(folder, gexbot, tell) as graphql:
            seconds, first = _backfill(graphql, [each.key for each in wanted], tell)
            refused = sum(request.status == 403 for request in gexbot.requests)
    return BackfillRun(partitions, seconds, first, refused)


def _backfill(graphql: str, keys: list[str], tell: Tell) -> tuple[float, float]:
    """Run a backfill; return the seconds until all runs have ended, and until the first has."""
    started = time.monotonic()
    backfill = launch_backfill(graphql, keys)
    first = 0.0
    while (seconds := time.monotonic() - started) < RUN_SECONDS:
        statuses = run_statuses(graphql, backfill)
        if "FAILURE" in statuses or "CANCELED" in statuses:
            raise BenchmarkError(f"a run of the backfill failed: {_failures(graphql, backfill)}")
        ended = statuses.count("SUCCESS")
        first = first or (seconds if ended else 0.0)
        if ended == len(keys):
            return seconds, first
        tell(f"{ended} of {len(keys)} partitions after {seconds:.0f} s")
        time.sleep(POLL_SECONDS)
    raise BenchmarkError(f"the backfill did not end within {RUN_SECONDS:g} s")


def launch_backfill(graphql: str, keys: list[str]) -> str:
    """Launch a backfill of the group `history` as the UI does, for these partition keys; return its id."""
    selection = [{"path": [asset]} for asset in ASSETS]
    launched = ask(graphql, _LAUNCH, {"params": {"assetSelection": selection, "partitionNames": keys}})
    answer = launched["launchPartitionBackfill"]
    if "backfillId" not in answer:
        raise BenchmarkError(f"the backfill was not launched: {answer}")
    return str(answer["backfillId"])


def run_statuses(graphql: str, backfill: str) -> list[str]:
    """Return the statuses of a backfill's runs that are there by now."""
    runs = ask(graphql, _RUNS, {"filter": {"tags": _tags(backfill)}})["runsOrError"]["results"]
    return [run["status"] for run in runs]


def _tags(backfill: str) -> list[dict[str, str]]:
    return [{"key": "dagster/backfill", "value": backfill}]


def _failures(graphql: str, backfill: str) -> list[dict[str, Any]]:
    """Return what the runs that failed say of it."""
    filters = {"tags": _tags(backfill), "statuses": ["FAILURE", "CANCELED"]}
    runs = ask(graphql, _FAILURES, {"filter": filters})["runsOrError"]["results"]
    events = (event for run in runs for event in run["eventConnection"]["events"])
    return [event for event in events if "Failure" in event["__typename"]]


@contextmanager
def running_system(folder: Path, gexbot: GexBotStandIn, tell: Tell) -> Iterator[str]:
    """Run `gex up` for the length of a block; yield the address of Dagster's GraphQL."""
    port, dagster_port = free_port(), free_port()
    environment = clean_environment() | {
        "GEX_DATA_DIR": str(folder / "data"),
        "GEX_PORT": str(port),
        "GEX_DAGSTER_PORT": str(dagster_port),
        "GEX_HISTORY_HOSTS": gexbot.host,
        "GEXBOT_API_KEY": gexbot.api_key,
        "GEXBOT_API_URL": f"{gexbot.base_url}/v2",
    }
    gex = [sys.executable, "-m", "gex_pipeline.cli"]
    feeds = [feed.key for feed in FEEDS]
    subprocess.run([*gex, "feeds", "add", *feeds], cwd=folder, env=environment, capture_output=True, check=True)
    tell("start gateway, loader, Dagster UI and daemon")
    with (folder / "up.log").open("w+b") as log:
        process = subprocess.Popen([*gex, "up"], cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            server = f"http://127.0.0.1:{dagster_port}"
            _wait_until(lambda: _answers(f"{server}/server_info"), process)
            yield f"{server}/graphql"
        finally:
            process.terminate()
            process.wait()


def _wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchmarkError("gex up did not start")
        time.sleep(POLL_SECONDS)


def ask(graphql: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    answer = requests.post(graphql, json={"query": query, "variables": variables}, timeout=60).json()
    if "errors" in answer:
        raise BenchmarkError(f"Dagster answered: {answer['errors'][0]['message']}")
    data: dict[str, Any] = answer["data"]
    return data


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False
