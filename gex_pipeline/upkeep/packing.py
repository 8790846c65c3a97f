"""Published Parquet files as an import leaves them, written again with the same rows in two thirds of the bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gex_pipeline.errors import PermanentError
from gex_pipeline.history.day import TABLES
from gex_pipeline.history.importing import LEASE_TIMEOUT_SECONDS
from gex_pipeline.history.paths import Partition, Table, partitions_below
from gex_pipeline.history.staging import SUMMARY_KEY, staging_lock
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import beside, link_or_copy, publish, sync, version_of
from gex_pipeline.storage.lease import standstill

# Of the file that is read; two at a time find more that repeats.
_ROW_GROUPS = 2


@dataclass(frozen=True)
class Packed:
    """A file that was written again; sizes in bytes."""

    path: Path
    size_before: int
    size_after: int


def loose_files(settings: Settings) -> Iterator[tuple[Partition, Table]]:
    """Find the published files that are still as they were staged; one that cannot be read is none of them."""
    days = set(partitions_below(settings.parquet_path / "gexbot", "*.parquet"))
    for partition in sorted(days, key=lambda each: each.key):
        yield from ((partition, table) for table in TABLES if _is_loose(partition.published(settings, table)))


def pack(settings: Settings, partition: Partition, table: Table) -> Packed | None:
    """Write a published file again, and the staged file with it where that is the same one.

    Rows, their order and what the footer says stay; the new file is read back and compared before it has the name.

    Returns:
        None when an export has written the file anew meanwhile.

    Raises:
        PermanentError: the file cannot be read, or reads back differently; it stays as it is.
        DiskFullError: there is no room.
        LeaseTimeoutError, TransientError: the database, or the day's staged files, stayed busy.
    """
    path, staged = partition.published(settings, table), partition.staged(settings, table)
    version = version_of(path)
    with beside(path) as temporary:
        try:
            _write(path, temporary)
        except (OSError, pa.ArrowException) as error:
            raise PermanentError(
                f"{path} cannot be read, {str(error).splitlines()[0]}; export the day again"
            ) from error
        sync(temporary)
        purpose = f"put the packed {path.name} of {partition.feed.key} in place"
        # An export replaces the file while it has the database, an import reads the staged one while it has the lock.
        with (
            staging_lock(settings, partition),
            standstill(settings.database_path, purpose=purpose, timeout_seconds=LEASE_TIMEOUT_SECONDS),
        ):
            if version_of(path) != version:
                return None
            is_staged = staged.exists() and staged.samefile(path)
            temporary.replace(path)
            sync(path.parent)
        if is_staged:
            with publish(staged) as again:
                link_or_copy(path, again)
    return Packed(path, version.size_bytes, path.stat().st_size)


def _is_loose(path: Path) -> bool:
    try:
        metadata = pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return False
    is_ours = SUMMARY_KEY in (metadata.metadata or {})
    return is_ours and metadata.num_row_groups > 0 and metadata.row_group(0).column(0).compression != "ZSTD"


def _write(source: Path, target: Path) -> None:
    with pq.ParquetFile(source) as read:
        groups = [
            list(range(start, min(start + _ROW_GROUPS, read.num_row_groups)))
            for start in range(0, read.num_row_groups, _ROW_GROUPS)
        ]
        with pq.ParquetWriter(
            target,
            read.schema_arrow,
            compression="zstd",
            compression_level=3,
            dictionary_pagesize_limit=16 << 20,
            write_statistics=["timestamp"],
        ) as writer:
            for some in groups:
                writer.write_table(read.read_row_groups(some))
            writer.add_key_value_metadata(read.metadata.metadata)
        with pq.ParquetFile(target) as written:
            for number, some in enumerate(groups):
                if not written.read_row_group(number).equals(read.read_row_groups(some)):
                    raise PermanentError(f"{source} reads back differently when it is packed; it stays as it is")
