"""How Dagster is: its UI, its daemon, and its runs."""

import datetime as dt
import time
from collections.abc import Sequence

import dagster as dg
import requests

from gex_pipeline.dagster_home import dagster_instance
from gex_pipeline.errors import without_secrets
from gex_pipeline.history.fetching import PARTITION_TAG, UNFINISHED
from gex_pipeline.settings import Settings
from gex_pipeline.status.parts import Part, ago

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
            return [*parts, _daemon(instance), _runs(instance)]
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


def _runs(instance: dg.DagsterInstance) -> Part:
    """Count the runs under way, and list those that failed within a day and were not made good since."""
    under_way = instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED))
    since = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    recent = instance.get_run_records(dg.RunsFilter(updated_after=since), limit=1000)
    failed = _not_made_good([record.dagster_run for record in recent])
    names = [" of ".join(filter(None, (run.job_name, run.tags.get(PARTITION_TAG)))) for run in failed]
    lines = [f"{under_way:,} under way, {len(failed):,} failed in the last 24 hours", *names[:LISTED]]
    if len(names) > LISTED:
        lines.append(f"and {len(names) - LISTED} more")
    return Part("runs", "degraded" if failed else "ok", lines, {"under_way": under_way, "failed": names})


def _not_made_good(runs: Sequence[dg.DagsterRun]) -> list[dg.DagsterRun]:
    """Return of each job and partition the last run that has ended, where it failed; `runs` has the newest first."""
    last: dict[tuple[str, str | None], dg.DagsterRun] = {}
    for run in runs:
        if run.is_finished:
            last.setdefault((run.job_name, run.tags.get(PARTITION_TAG)), run)
    return [run for run in last.values() if run.status is dg.DagsterRunStatus.FAILURE]
