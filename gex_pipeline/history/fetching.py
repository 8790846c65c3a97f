"""What is imported, under way, tried in vain and published: what the decisions about fetching are made from."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence

import dagster as dg

from gex_pipeline.errors import DownloadInterruptedError, SourceUnavailableError
from gex_pipeline.history.fetch_plan import Tries
from gex_pipeline.history.gexbot_api import KEPT_DAYS, ask_api
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.lineage import imported_files
from gex_pipeline.storage.schema import has_table
from gex_pipeline.trading_days import NEW_YORK

PARTITION_TAG = "dagster/partition"
FETCH_TAG = "gex/fetch"
HISTORY_FILE = dg.AssetKey("history_file")
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_OBSERVED = 10_000


def imported_days(settings: Settings) -> set[Partition]:
    """Return the partitions with an import of a history file."""
    if not settings.database_path.exists():
        return set()
    with lease(settings.database_path, purpose="look up what is imported", read_only=True) as connection:
        if not has_table(connection, "data_lineage"):
            return set()  # a user's own file, which nothing has been imported into
        return {Partition(feed, date) for feed, date in imported_files(connection)}


def under_way(instance: dg.DagsterInstance) -> set[Partition]:
    """Return the partitions of runs that have not ended: each of our jobs ends with an export."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
    return {Partition.parse(run.tags[PARTITION_TAG]) for run in runs if PARTITION_TAG in run.tags}


def failed_fetches(instance: dg.DagsterInstance, now: dt.datetime) -> Tries:
    """Return the days on which runs failed that were started to fetch a partition."""
    created_after = now - dt.timedelta(days=KEPT_DAYS)
    filters = dg.RunsFilter(statuses=_FAILED, tags={FETCH_TAG: "daily"}, created_after=created_after)
    return _by_partition(
        (record.dagster_run.tags[PARTITION_TAG], record.create_timestamp.timestamp())
        for record in instance.get_run_records(filters)
    )


def absences(instance: dg.DagsterInstance, now: dt.datetime) -> Tries:
    """Return the days on which GexBot said that it has no such file."""
    after = now.timestamp() - KEPT_DAYS * 86_400
    found = instance.fetch_observations(
        dg.AssetRecordsFilter(asset_key=HISTORY_FILE, after_timestamp=after), limit=_OBSERVED
    )
    return _by_partition((each.partition_key or "", each.timestamp) for each in found.records)


def merged(*tries: Tries) -> Tries:
    """Return all of these together."""
    days: defaultdict[Partition, list[dt.date]] = defaultdict(list)
    for each in tries:
        for partition, tried in each.items():
            days[partition] += tried
    return days


def ask_for(
    settings: Settings, instance: dg.DagsterInstance, planned: Sequence[Partition], now_ms: int
) -> tuple[list[Partition], list[str]]:
    """Ask GexBot which of these files it has, so that no run starts in vain.

    A day that it does not have is noted with `history_file`, where the UI shows it.

    Returns:
        What is published, and why the rest waits, in a line each.
    """
    published: list[Partition] = []
    waiting: list[str] = []
    denied = set()
    for partition in planned:
        if partition.feed in denied:
            continue
        try:
            ask_api(settings, partition, now_ms)
        except (SourceUnavailableError, DownloadInterruptedError) as error:
            waiting.append(f"{partition.key}: {error}")
            reason = error.details.get("reason")
            if reason == "no such day":
                _note_absence(instance, partition, str(error))
            elif reason == "denied or throttled":
                denied.add(partition.feed)
            elif reason != "not published yet":
                break  # whoever is asked next is answered the same
        else:
            published.append(partition)
    return published, waiting


def _note_absence(instance: dg.DagsterInstance, partition: Partition, text: str) -> None:
    observed = dg.AssetObservation(
        asset_key=HISTORY_FILE, partition=partition.key, description=text, metadata={"reason": "no such day"}
    )
    instance.report_runless_asset_event(observed)


def _by_partition(tried: Iterable[tuple[str, float]]) -> Tries:
    """Return from keys and moments (epoch seconds) the New York days of each partition."""
    days: defaultdict[Partition, list[dt.date]] = defaultdict(list)
    for key, moment in tried:
        days[Partition.parse(key)].append(dt.datetime.fromtimestamp(moment, NEW_YORK).date())
    return days
