"""What files say of the days, without the database: Parquet, history files or that there is none, conflicts."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gex_pipeline.audit.figures import PublishedDay
from gex_pipeline.history.paths import Partition, partitions_below
from gex_pipeline.settings import Settings
from gex_pipeline.trading_days import is_trading_day


@dataclass(frozen=True)
class OnDisk:
    """Which partitions have files, by their names; reports of conflicts are counted.

    Attributes:
        absences: those of which GexBot said that it has no file.
    """

    published: frozenset[Partition]
    sources: frozenset[Partition]
    absences: frozenset[Partition]
    conflicts: Counter[Partition]


def list_files(settings: Settings) -> OnDisk:
    """Look for the files of all partitions."""
    return OnDisk(
        frozenset(_trading_days(settings.parquet_path / "gexbot", "*.parquet")),
        frozenset(_trading_days(settings.source_dir, "*_history.json", "*_history.json.gz")),
        frozenset(_trading_days(settings.source_dir, "*_history.absent")),
        Counter(_trading_days(settings.conflicts_dir / "gexbot", "*.parquet")),
    )


def _trading_days(root: Path, *patterns: str) -> Iterator[Partition]:
    found = (each for pattern in patterns for each in partitions_below(root, pattern))
    return (each for each in found if is_trading_day(each.date))


def read_footers(settings: Settings, partition: Partition) -> PublishedDay:
    """Return what the footers of a day's two Parquet files say; what cannot be read is told, never raised."""
    snapshots, first_ms, last_ms, problem = _read_footer(partition.published(settings, "snapshots"))
    strikes, _, _, other_problem = _read_footer(partition.published(settings, "strikes"))
    return PublishedDay(snapshots, strikes, first_ms, last_ms, "; ".join(filter(None, (problem, other_problem))))


def _read_footer(path: Path) -> tuple[int | None, int | None, int | None, str]:
    """Return rows, first and last timestamp (None where the statistics are silent), and what is wrong."""
    try:
        metadata = pq.read_metadata(path)
    except FileNotFoundError:
        return None, None, None, f"{path.name} is missing"
    except (OSError, pa.ArrowException) as error:
        return None, None, None, f"{path.name} cannot be read, {str(error).splitlines()[0]}"
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    bounds = [group.column(0).statistics for group in groups if group.column(0).path_in_schema == "timestamp"]
    if not bounds or len(bounds) < len(groups) or not all(each and each.has_min_max for each in bounds):
        return metadata.num_rows, None, None, ""
    return metadata.num_rows, min(each.min for each in bounds), max(each.max for each in bounds), ""
