"""Which staged files may go: those of days that were imported, published and found good a while ago."""

from collections.abc import Collection, Iterator, Mapping

from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import MalformedFileError
from gex_pipeline.history.day import TABLES
from gex_pipeline.history.paths import Partition, partitions_below
from gex_pipeline.history.staging import read_summary, staging_lock
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.lineage import imported_at

_DAY_MS = 86_400_000


def delete_staged(settings: Settings, finished: Mapping[str, Collection[str]]) -> list[Partition]:
    """Delete the staged files of each day whose bytes were imported `staging_keep_days` ago or more.

    Args:
        settings: where they are, and for how long they are kept; 0: for ever.
        finished: for each partition key the SHA-256 of files that are imported and published and whose blocking
            checks passed. Whatever else is in the folder stays.
    """
    if not settings.staging_keep_days:
        return []
    latest_ms = epoch_ms() - round(settings.staging_keep_days * _DAY_MS)
    return [each for each in _old_days(settings, latest_ms) if _delete(settings, each, finished, latest_ms)]


def _old_days(settings: Settings, latest_ms: int) -> Iterator[Partition]:
    """Find the days with staged files that were written before a moment."""
    found = {
        partition
        for partition in partitions_below(settings.staging_path / "gexbot", "*.parquet")
        for path in (partition.staged(settings, table) for table in TABLES)
        if path.exists() and path.stat().st_mtime_ns < latest_ms * 1_000_000
    }
    yield from sorted(found, key=lambda each: each.key)


def _delete(
    settings: Settings, partition: Partition, finished: Mapping[str, Collection[str]], latest_ms: int
) -> bool:
    if partition.key not in finished:
        return False
    with staging_lock(settings, partition):
        paths = [path for table in TABLES if (path := partition.staged(settings, table)).exists()]
        try:
            hashes = {read_summary(path).sha256 for path in paths}
        except MalformedFileError:
            return False
        if len(hashes) != 1 or not hashes <= set(finished[partition.key]):
            return False
        purpose = f"see when {partition.key} was imported"
        with lease(settings.database_path, purpose=purpose, read_only=True) as connection:
            at_ms = imported_at(connection, partition.feed, partition.date, *hashes)
        if at_ms is None or at_ms > latest_ms:
            return False
        for path in paths:
            path.unlink()
    return True
