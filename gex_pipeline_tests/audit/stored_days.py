"""A data folder with a few small days that are well, and ways to spoil them."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from shutil import copytree

from gex_pipeline.audit.coverage import DayCoverage, find_coverage
from gex_pipeline.history.day import TABLES, export_tables
from gex_pipeline.history.download import find_unrecorded_source
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.trading_days import NEW_YORK, day_bounds_ms
from gex_pipeline_tests.integrity.days import FEED, import_day, records_of, trading_days

DATES = trading_days(dt.date(2025, 11, 3), 5)
FIRST, LAST = DATES[0], DATES[-1]
SPOILED = DATES[2]
PARTITION = Partition(FEED, SPOILED)
# Long after GexBot has deleted the files.
LATER = dt.datetime(2026, 3, 2, 12, tzinfo=NEW_YORK)


def make_days(folder: Path) -> Path:
    """Import the days, each from its history file, which stays in place with its checksum."""
    settings = load_settings(data_dir=folder)
    for date in DATES:
        import_day(settings, date, records_of(date))
        assert find_unrecorded_source(settings, Partition(FEED, date))
    return folder


def copied(days: Path, tmp_path: Path) -> Settings:
    return load_settings(data_dir=copytree(days, tmp_path / "data"))


def covered(
    settings: Settings, *, now: dt.datetime = LATER, first: dt.date | None = None, seconds: float = 5
) -> dict[str, DayCoverage]:
    """Return what is found, by partition key."""
    now_ms = int(now.timestamp() * 1000)
    found = find_coverage(settings, (), first, LAST, now_ms, lease_timeout_seconds=seconds)
    return {day.partition.key: day for day in found.days}


def states(days: dict[str, DayCoverage]) -> list[str]:
    return [day.state for day in days.values()]


def delete(settings: Settings, condition: str = "true", tables: Sequence[Table] = TABLES) -> None:
    """Delete rows of the spoiled day from the database."""
    first_ms, last_ms = day_bounds_ms(SPOILED)
    alter(
        settings,
        *(
            f"DELETE FROM gex_{table} WHERE timestamp BETWEEN {first_ms} AND {last_ms} AND {condition}"  # noqa: S608
            for table in tables
        ),
    )


def alter(settings: Settings, *statements: str) -> None:
    with lease(settings.database_path, purpose="alter") as connection:
        for statement in statements:
            connection.execute(statement)


def unpublish(settings: Settings) -> None:
    """Remove the Parquet files of the spoiled day."""
    for table in TABLES:
        PARTITION.published(settings, table).unlink()


def publish_anew(settings: Settings) -> None:
    """Have the Parquet files of the spoiled day say what the database says now."""
    unpublish(settings)
    list(export_tables(settings, PARTITION))
