"""Which finished runs may go: Dagster keeps all of them, and with a run it deletes what the run materialized."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from sqlalchemy import select

from gex_pipeline.history.fetching import FETCH_TAG
from gex_pipeline.history.gexbot_api import KEPT_DAYS

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_PAGE = 500


def old_runs(instance: dg.DagsterInstance, keep_days: float, now: dt.datetime) -> list[str]:
    """Return the ids of the finished runs that may be deleted, the oldest first.

    A run stays while its materialization is the last of an asset in some partition. One that the daily fetch started
    stays at least as long as GexBot keeps the file: it counts as a try.

    Args:
        instance: whose runs.
        keep_days: younger ones stay.
        now: the time.
    """
    since, fetched_since = (now - dt.timedelta(days=days) for days in (keep_days, max(keep_days, KEPT_DAYS + 1)))
    candidates = [
        record.dagster_run.run_id
        for record in _finished_before(instance, since)
        if FETCH_TAG not in record.dagster_run.tags or record.create_timestamp < fetched_since
    ]
    if not candidates:
        return []
    needed = _last_runs(instance)
    return [run_id for run_id in reversed(candidates) if run_id not in needed]


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run with its events, what its process printed, and the file that SQLite keeps for it."""
    instance.delete_run(run_id)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        shard = Path(storage.path_for_shard(run_id))
        for path in (shard, *(shard.with_name(f"{shard.name}-{suffix}") for suffix in ("wal", "shm"))):
            path.unlink(missing_ok=True)


def _finished_before(instance: dg.DagsterInstance, moment: dt.datetime) -> Iterator[dg.RunRecord]:
    filters = dg.RunsFilter(statuses=FINISHED, created_before=moment)
    cursor = None
    while page := instance.get_run_records(filters, limit=_PAGE, cursor=cursor):
        yield from (record for record in page if record.end_time is None or record.end_time < moment.timestamp())
        cursor = page[-1].dagster_run.run_id


def _last_runs(instance: dg.DagsterInstance) -> set[str]:
    """Return the runs with the last materialization of an asset, in any partition or without partitions.

    Verdicts of checks outlive their run.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"{type(storage).__name__} does not tell which runs are needed")
    assets = instance.all_asset_keys()
    entries = [record.asset_entry for record in instance.get_asset_records(assets)]
    needed = {entry.last_materialization_record.run_id for entry in entries if entry.last_materialization_record}
    for asset in assets:
        latest = storage.get_latest_storage_id_by_partition(asset, dg.DagsterEventType.ASSET_MATERIALIZATION)
        ids = sorted(latest.values())
        with storage.index_connection() as connection:
            for start in range(0, len(ids), _PAGE):
                of_ids = SqlEventLogStorageTable.c.id.in_(ids[start : start + _PAGE])
                needed.update(connection.execute(select(SqlEventLogStorageTable.c.run_id).where(of_ids)).scalars())
    return needed
