"""History files made of a few records, staged and imported without Dagster."""

import datetime as dt
import json
from typing import Any

from gex_pipeline.feeds import Feed
from gex_pipeline.history.download import SourceFile
from gex_pipeline.history.importing import ImportResult, import_staged
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.staging import stage
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import sha256_of
from gex_pipeline.storage.lease import lease

ZERO = Partition(Feed("SPX", "gex_zero"), dt.date(2025, 11, 14))
OPENING = 1_763_130_601
STRIKES = [[6730, -228.01, 0.1 + 0.2, [1, 2, 3, 4, 5]], [6735.25, 1, 2, [1e-7, None]], [6740, 3, 4, []]]

Row = dict[str, Any]


def record(second: int, **changes: Any) -> Row:
    return {"timestamp": OPENING + second, "spot": 6734.5, "min_dte": 0, "strikes": STRIKES} | changes


def stage_records(settings: Settings, *records: Row, partition: Partition = ZERO) -> None:
    place = partition.source(settings).with_suffix(".json")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(records))
    stage(settings, partition, SourceFile(place, sha256_of(place)))


def import_records(
    settings: Settings, *records: Row, partition: Partition = ZERO, replace: bool = False
) -> ImportResult:
    stage_records(settings, *records, partition=partition)
    return import_staged(settings, partition, "run", replace=replace)


def stored(settings: Settings) -> list[list[tuple[Any, ...]]]:
    with lease(settings.database_path, purpose="look") as connection:
        return [
            connection.execute(f"FROM {table} ORDER BY ALL").fetchall() for table in ("gex_snapshots", "gex_strikes")
        ]
