"""A data folder with published days, a day that only the database has, and rows of today."""

import datetime as dt
from pathlib import Path
from typing import Any

from gex_pipeline.clock import epoch_ms
from gex_pipeline.feeds import Feed
from gex_pipeline.history.day import export_tables
from gex_pipeline.history.paths import Partition
from gex_pipeline.queries.spans import Span, day_of, day_span
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.snapshots import day_rows_sql
from gex_pipeline_tests.records import capture_live, import_records, record

FEED = Feed("SPX", "gex_zero")
THURSDAY, FRIDAY, MONDAY = dt.date(2025, 11, 13), dt.date(2025, 11, 14), dt.date(2025, 11, 17)
OPENING = {
    day: int(dt.datetime.combine(day, dt.time(14, 30), dt.UTC).timestamp()) for day in (THURSDAY, FRIDAY, MONDAY)
}
TODAY = day_of(epoch_ms())
MIDNIGHT = day_span(TODAY).start_ms // 1000
EVER = Span(day_span(THURSDAY).start_ms, day_span(TODAY).end_ms)
TWO_LINES = {"max_priors": [[7140, 1.5], [7135, None]], "vix": 17.1, "note": 'a "quote", a ü and a\nline'}


def snapshot(second: int, **fields: Any) -> dict[str, Any]:
    return record(0, ticker=FEED.ticker, **fields) | {"timestamp": second}


def recorded(folder: Path) -> Settings:
    """Thursday and Friday published, Monday and the first minute of today only in the database; ten rows each."""
    settings = load_settings(data_dir=folder / "data", backup_max_age_hours=0)
    for day in (THURSDAY, FRIDAY):
        rows = [snapshot(OPENING[day] + second, **(TWO_LINES if second == 3 else {})) for second in range(10)]
        import_records(settings, *rows, partition=Partition(FEED, day))
        publish(settings, day)
    capture_live(
        settings, *(snapshot(first + second) for first in (OPENING[MONDAY], MIDNIGHT) for second in range(10))
    )
    return settings


def publish(settings: Settings, day: dt.date) -> None:
    list(export_tables(settings, Partition(FEED, day)))


def stored(
    settings: Settings, columns: tuple[str, ...], span: Span = EVER, table: str = "gex_snapshots"
) -> list[Any]:
    """Return what the database itself says."""
    with lease(settings.database_path, purpose="look", timeout_seconds=10, read_only=True) as connection:
        sql = day_rows_sql(connection, table, columns, FEED, span.start_ms, span.end_ms - 1)
        rows: list[Any] = connection.sql(f"{sql} ORDER BY ALL").to_arrow_table().to_pylist()
    return rows
