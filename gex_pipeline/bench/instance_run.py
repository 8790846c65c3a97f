"""One Dagster instance measured: `python -m gex_pipeline.bench.instance_run PARTITIONS`, in a folder to fill."""

import datetime as dt
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dagster as dg
import msgspec
import requests

from gex_pipeline.bench.many_partitions import FEEDS, fill, import_again
from gex_pipeline.bench.turns import BenchmarkError, free_port, say
from gex_pipeline.clock import epoch_ms
from gex_pipeline.dagster_home import dagster_instance
from gex_pipeline.definitions import defs
from gex_pipeline.feeds import WantedFeed
from gex_pipeline.history.assets import GROUP
from gex_pipeline.history.fetching import absences, failed_fetches, under_way
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.reporting import finished_files
from gex_pipeline.settings import Settings, environment_for_children, load_settings
from gex_pipeline.upkeep.old_runs import old_runs

REPEAT, START_SECONDS = 3, 120.0
# What the pages of the UI ask for, without what only decorates them.
QUERIES = {
    "lineage and asset overview": """query ($keys: [AssetKeyInput!]!) {
        assetNodes(assetKeys: $keys) { id assetMaterializations(limit: 1) { timestamp runId partition }
            partitionStats { numMaterialized numFailed numPartitions numMaterializing }
            assetChecksOrError { ... on AssetChecks { checks {
                name executionForLatestMaterialization { status } } } } }
        assetsLatestInfo(assetKeys: $keys) { id unstartedRunIds inProgressRunIds latestRun { id status }
            latestMaterialization { timestamp runId } } }""",
    "an asset's partitions": """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
        partitionKeysByDimension { name type partitionKeys }
        assetPartitionStatuses { ... on MultiPartitionStatuses { ranges {
            primaryDimStartKey primaryDimEndKey secondaryDim { ... on DefaultPartitionStatuses {
                materializedPartitions failedPartitions materializingPartitions } } } } } } } }""",
    "an asset's checks": """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
        assetChecksOrError { ... on AssetChecks { checks { name blocking executionForLatestMaterialization {
            id runId status timestamp evaluation { severity description metadataEntries { label } } } } } } } } }""",
    "an asset's events": """query ($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset {
        assetMaterializations(limit: 25) { timestamp runId partition metadataEntries { label description }
            tags { key value } } } } }""",
    "the list of runs": """query { runsOrError(limit: 26) { ... on Runs { results { id runId status jobName startTime
        endTime updateTime tags { key value } assetSelection { path } } count } } }""",
}


class InstanceFigures(msgspec.Struct):
    """What an instance of so many partitions takes, in seconds: by name, the first time and the median of later ones.

    Attributes:
        megabytes: of its storage, without the files of single runs; 10^6 bytes.
    """

    partitions: int
    megabytes: float
    seconds: dict[str, tuple[float, float]]


def main() -> None:
    """Fill a fresh instance and measure it."""
    count = int(sys.argv[1])
    settings = load_settings(data_dir=Path("data"), feeds=tuple(map(WantedFeed, FEEDS[:2])))
    os.environ.pop("DAGSTER_HOME", None)
    with dagster_instance(settings) as instance:
        first = fill(settings, instance, count, epoch_ms())
        seconds = _requests(settings) | _ours(settings, instance, first)
    history = settings.dagster_home_path / "history"
    stored_bytes = sum((history / name).stat().st_size for name in ("runs.db", "runs/index.db"))
    say(InstanceFigures(count, stored_bytes / 1e6, seconds))


def _ours(settings: Settings, instance: dg.DagsterInstance, first: Partition) -> dict[str, tuple[float, float]]:
    """Time what this project does with the instance."""
    now = dt.datetime.now(dt.UTC)

    def fetches() -> None:
        under_way(instance)
        failed_fetches(instance, now)
        absences(instance, now)

    timed: dict[str, Callable[[], object]] = {
        "a tick of history_queue_sensor": lambda: _tick(settings, instance, "history_queue_sensor"),
        "a tick of failed_runs_sensor": lambda: _tick(settings, instance, "failed_runs_sensor"),
        "what daily_fetch asks of Dagster": fetches,
        "what gex import asks before it begins": lambda: finished_files(settings, instance),
        "which runs may be deleted": lambda: old_runs(instance, 0.0, now),
        "a whole run of a small day": lambda: import_again(settings, instance, first),
    }
    return {name: _timed(do) for name, do in timed.items()}


def _tick(settings: Settings, instance: dg.DagsterInstance, name: str) -> None:
    cursor = '{"event": 0, "request_ms": 0}' if name == "failed_runs_sensor" else None
    with dg.build_sensor_context(
        instance=instance, resources={"settings": settings}, cursor=cursor, repository_def=defs.get_repository_def()
    ) as context:
        defs.resolve_sensor_def(name).evaluate_tick(context)


def _requests(settings: Settings) -> dict[str, tuple[float, float]]:
    """Time what the UI asks of its server."""
    graph = defs.resolve_asset_graph()
    keys = [{"path": key.path} for key in sorted(graph.get_all_asset_keys()) if graph.get(key).group_name == GROUP]
    variables = {"keys": keys, "key": {"path": ["gex_snapshots"]}}
    with _webserver(settings) as graphql, requests.Session() as session:

        def ask(query: str) -> None:
            wanted = {name: value for name, value in variables.items() if f"${name}:" in query}
            answer = session.post(graphql, json={"query": query, "variables": wanted}, timeout=300).json()
            if "errors" in answer:
                raise BenchmarkError(f"Dagster answered: {answer['errors'][0]['message']}")

        return {name: _timed(partial(ask, query)) for name, query in QUERIES.items()}


@contextmanager
def _webserver(settings: Settings) -> Iterator[str]:
    """Run the Dagster UI; yield the address of its GraphQL."""
    port = free_port()
    program = str(Path(sys.executable).parent / "dagster-webserver")
    command = [program, "-m", "gex_pipeline.definitions", "--port", str(port)]
    with Path("webserver.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment_for_children(settings), stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(f"http://127.0.0.1:{port}/server_info"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise BenchmarkError("the Dagster UI did not start")
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/graphql"
        finally:
            process.terminate()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def _timed(do: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of the first time and the median of those after it."""
    seconds = []
    for _ in range(1 + REPEAT):
        started = time.perf_counter()
        do()
        seconds.append(time.perf_counter() - started)
    return seconds[0], statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
