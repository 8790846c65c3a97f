"""How Dagster is: its UI, its daemon, and its runs."""

import datetime as dt
import time
from collections.abc import Sequence

import dagster as dg
import duckdb
import requests

from gex_pipeline.dagster_home import dagster_instance
from gex_pipeline.errors import GexError, without_secrets
from gex_pipeline.history.fetching import PARTITION_TAG, UNFINISHED
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.run_failures import why_failed
from gex_pipeline.settings import Settings
from gex_pipeline.status.parts import Part, ago
from gex_pipeline.status.stored import LEASE_SECONDS
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.lineage import last_imports
from gex_pipeline.storage.schema import has_table

ANSWER_SECONDS = 2.0
# The daemon says every half minute that it lives.
SILENT_SECONDS = 90.0
LISTED = 5


def dagster(settings: Settings) -> list[Part]:
    """Ask the UI whether it is there, and the storage for the rest, which needs neither UI nor daemon."""
    parts = [_ui(settings)]
    if not (settings.dagster_home_path / "dagster.yaml").exists():
        return [*parts, Part("runs", "ok", ["Dagster has not been started yet"])]
    try:
        with dagster_instance(settings) as instance:
            return [*parts, _daemon(instance), _runs(settings, instance)]
    except Exception as error:  # noqa: BLE001 - whatever its storage raises
        reason = without_secrets(str(error).splitlines()[0] if str(error) else type(error).__name__)
        return [*parts, Part("runs", "down", [f"Dagster's storage cannot be read: {reason}"], {"error": reason})]


def _ui(settings: Settings) -> Part:
    address = f"http://127.0.0.1:{settings.dagster_port}"
    with requests.Session() as session:
        session.trust_env = False
        try:
            is_there = session.get(f"{address}/server_info", timeout=ANSWER_SECONDS).ok
        except requests.RequestException:
            is_there = False
    if is_there:
        return Part("Dagster UI", "ok", [settings.dagster_address])
    return Part("Dagster UI", "down", [f"nobody answers at {address}"])


def _daemon(instance: dg.DagsterInstance) -> Part:
    heartbeats = instance.get_daemon_heartbeats().values()
    silent = time.time() - max((each.timestamp for each in heartbeats), default=0.0)
    if not heartbeats:
        return Part("Dagster daemon", "down", ["it never ran"], {"silent_seconds": None})
    figures = {"silent_seconds": round(silent)}
    if silent < SILENT_SECONDS:
        return Part("Dagster daemon", "ok", [f"heard of {ago(silent)} ago"], figures)
    return Part("Dagster daemon", "down", [f"not heard of for {ago(silent)}: no run is started"], figures)


def _runs(settings: Settings, instance: dg.DagsterInstance) -> Part:
    """Count the runs under way, and list with the reason those that failed within a day and were not made good."""
    under_way = instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED))
    since = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    failed = _last_failed(instance.get_run_records(dg.RunsFilter(updated_after=since), limit=1000))
    imported_ms = _imported(settings) if failed else {}
    failed = [each for each in failed if imported_ms.get(_partition(each) or "", 0) <= _ended_ms(each)]
    names = [" of ".join(filter(None, (each.dagster_run.job_name, _partition(each)))) for each in failed]
    lines = [f"{under_way:,} under way, {len(failed):,} failed in the last 24 hours"]
    for name, each in zip(names[:LISTED], failed, strict=False):
        reason = " ".join(why_failed(instance, each.dagster_run.run_id).error.split())
        lines.append(f"{name}: {reason}")
    if len(names) > LISTED:
        lines.append(f"and {len(names) - LISTED} more")
    return Part("runs", "degraded" if failed else "ok", lines, {"under_way": under_way, "failed": names})


def _last_failed(records: Sequence[dg.RunRecord]) -> list[dg.RunRecord]:
    """Return of each job and partition the last run that has ended, where it failed; the newest come first."""
    last: dict[tuple[str, str | None], dg.RunRecord] = {}
    for record in records:
        if record.dagster_run.is_finished:
            last.setdefault((record.dagster_run.job_name, _partition(record)), record)
    return [record for record in last.values() if record.dagster_run.status is dg.DagsterRunStatus.FAILURE]


def _imported(settings: Settings) -> dict[str, int]:
    """Return by partition key when its day was last imported (epoch ms UTC); nothing while the file is busy."""
    if not settings.database_path.exists():
        return {}
    try:
        with lease(
            settings.database_path, purpose="see what is imported", timeout_seconds=LEASE_SECONDS, read_only=True
        ) as connection:
            found = last_imports(connection) if has_table(connection, "data_lineage") else {}
    except (GexError, duckdb.Error):
        return {}
    return {Partition(feed, date).key: at_ms for (feed, date), at_ms in found.items()}


def _partition(record: dg.RunRecord) -> str | None:
    return record.dagster_run.tags.get(PARTITION_TAG)


def _ended_ms(record: dg.RunRecord) -> float:
    return (record.end_time or record.update_timestamp.timestamp()) * 1000
