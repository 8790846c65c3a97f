"""Where a partition's history file comes from: the disk, the announced URL, GexBot's API, or nowhere."""

from dataclasses import dataclass

from gex_pipeline.errors import SourceUnavailableError
from gex_pipeline.history.download import (
    Progress,
    SourceFile,
    ask_api,
    download,
    find_source,
    find_unrecorded_source,
)
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.lineage import find_import
from gex_pipeline.storage.request_queue import find_announcement
from gex_pipeline.storage.schema import ensure_schema


@dataclass(frozen=True)
class Obtained:
    """A partition's file and where it came from, in words."""

    file: SourceFile
    origin: str


def obtain(settings: Settings, partition: Partition, progress: Progress) -> Obtained:
    """Return the partition's file, fetching it when it is not here.

    A file on disk with its recorded checksum is taken, unless it never made it into the database and was announced
    again since it was fetched. Then come the announced URL, GexBot's API when a key is set, and last a file that
    somebody put in the partition's place.

    Raises:
        SourceUnavailableError: none of these; the message says what to do.
        DownloadInterruptedError: another attempt may help.
    """
    on_disk = find_source(settings, partition)
    announcement, is_imported = _look_up(settings, partition, on_disk)
    if on_disk and (is_imported or not _is_newer(announcement, on_disk)):
        return Obtained(on_disk, "already downloaded")
    if announcement is not None:
        return Obtained(download(settings, partition, announcement[0], progress), "announced URL")
    if settings.gexbot_api_key is not None:
        url = ask_api(settings, partition)
        return Obtained(download(settings, partition, url, progress), "GexBot history API")
    if found := find_unrecorded_source(settings, partition):
        return Obtained(found, "put in place by hand")
    place = partition.source(settings)
    raise SourceUnavailableError(
        f"there is no history file for {partition.key}: announce its URL with POST /gex_history_url, "
        f"set GEXBOT_API_KEY, or put the file at {place}.json"
    )


def _is_newer(announcement: tuple[str, int] | None, file: SourceFile) -> bool:
    return announcement is not None and announcement[1] > file.path.stat().st_mtime_ns // 1_000_000


def _look_up(
    settings: Settings, partition: Partition, on_disk: SourceFile | None
) -> tuple[tuple[str, int] | None, bool]:
    """Return what was announced for the partition, and whether the file on disk has been imported."""
    if not settings.database_path.exists():
        return None, False
    with lease(settings.database_path, purpose=f"look up {partition.key}") as connection:
        ensure_schema(connection)
        announcement = find_announcement(connection, partition.feed, partition.date)
        earlier = on_disk and find_import(connection, partition.feed, partition.date, on_disk.sha256)
    return announcement, earlier is not None
