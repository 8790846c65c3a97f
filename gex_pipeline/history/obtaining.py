"""Where a partition's history file comes from: the disk, the announced URL, GexBot's API, or nowhere."""

import os
from dataclasses import dataclass

from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import DownloadInterruptedError, NoSourceError, SourceUnavailableError
from gex_pipeline.history.download import (
    Progress,
    SourceFile,
    download,
    find_source,
    find_unrecorded_source,
)
from gex_pipeline.history.gexbot_api import ask_api
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings
from gex_pipeline.storage.disk import disk_errors
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.request_queue import find_announcement
from gex_pipeline.storage.schema import ensure_schema, has_table


@dataclass(frozen=True)
class Obtained:
    """A partition's file and where it came from, in words."""

    file: SourceFile
    origin: str


def obtain(settings: Settings, partition: Partition, progress: Progress) -> Obtained:
    """Return the partition's file, fetching it when it is not here.

    A file on disk with its recorded checksum is taken, unless another was announced since. Then come the announced
    URL, GexBot's API when a key is set, and last a file that somebody put in the partition's place: where a host
    cannot be reached, only one that is newer than the announcement.

    Raises:
        NoSourceError: none of these; the message says what to do.
        SourceUnavailableError: the host refuses, and nobody put a file there.
        DownloadInterruptedError, DiskFullError: another attempt may help.
        PermanentError: the folders cannot be written.
    """
    with disk_errors(settings.source_dir):
        return _obtain(settings, partition, progress)


def _obtain(settings: Settings, partition: Partition, progress: Progress) -> Obtained:
    on_disk = find_source(settings, partition)
    announcement = _find_announcement(settings, partition)
    if on_disk and not (announcement and _is_older(on_disk.modified_at_ms, announcement[1])):
        return Obtained(on_disk, "already downloaded")
    if announcement is not None:
        return _fetch_announced(settings, partition, *announcement, on_disk, progress)
    try:
        if settings.gexbot_api_key is not None:
            url = ask_api(settings, partition, epoch_ms())
            return Obtained(download(settings, partition, url, progress), "GexBot history API")
    except SourceUnavailableError:
        if found := find_unrecorded_source(settings, partition):
            return Obtained(found, "put in place by hand")
        raise
    if found := find_unrecorded_source(settings, partition):
        return Obtained(found, "put in place by hand")
    place = partition.source(settings)
    raise NoSourceError(
        f"there is no history file for {partition.key}: announce its URL with POST /gex_history_url, "
        f"set GEXBOT_API_KEY, or put the file at {place}.json"
    )


def _is_older(modified_at_ms: int, announced_at_ms: int) -> bool:
    """Tell whether a file was announced since; a time in the future, of a clock that was set back, tells nothing."""
    return modified_at_ms < announced_at_ms or (modified_at_ms != announced_at_ms and modified_at_ms > epoch_ms())


def _fetch_announced(
    settings: Settings,
    partition: Partition,
    url: str,
    announced_at_ms: int,
    on_disk: SourceFile | None,
    progress: Progress,
) -> Obtained:
    try:
        file = download(settings, partition, url, progress)
    except (SourceUnavailableError, DownloadInterruptedError) as error:
        is_refused = isinstance(error, SourceUnavailableError)

        def is_put_there(modified_at_ms: int) -> bool:
            # With the time of the announcement it is the file of that very announcement, which was distrusted.
            is_newer = is_refused or not _is_older(modified_at_ms, announced_at_ms)
            return is_newer and modified_at_ms != announced_at_ms

        if found := find_unrecorded_source(settings, partition, is_put_there):
            return Obtained(found, "already downloaded" if found == on_disk else "put in place by hand")
        raise type(error)(
            f"{error}; or put the file at {partition.source(settings)}.json and touch it: one that is newer than the "
            "announcement is taken at the next try",
            **error.details,
        ) from error
    # The file takes the time of its announcement, so that a later one is known to be newer.
    os.utime(file.path, ns=(announced_at_ms * 1_000_000, announced_at_ms * 1_000_000))
    return Obtained(file, "announced URL")


def _find_announcement(settings: Settings, partition: Partition) -> tuple[str, int] | None:
    """Return what was announced for the partition and when (epoch ms), None when nothing was."""
    if not settings.database_path.exists():
        return None
    with lease(settings.database_path, purpose=f"look up {partition.key}") as connection:
        if not has_table(connection, "gex_history_queue"):
            return None
        ensure_schema(connection)
        return find_announcement(connection, partition.feed, partition.date)
