"""History files made of a few records, staged and imported without Dagster."""

import datetime as dt
import json
import subprocess
import sys
from typing import Any

import msgspec

from gex_pipeline.clock import epoch_ms
from gex_pipeline.feeds import Feed
from gex_pipeline.history.download import SourceFile
from gex_pipeline.history.importing import ImportResult, import_staged
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.staging import stage
from gex_pipeline.journal import encode_record, name_journal, segment_path
from gex_pipeline.loader.loading import Loader
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import sha256_of
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.request_queue import announce
from gex_pipeline.storage.schema import ensure_schema
from gex_pipeline_tests.processes import clean_environment

ZERO = Partition(Feed("SPX", "gex_zero"), dt.date(2025, 11, 14))
OPENING = 1_763_130_601
STRIKES = [[6730, -228.01, 0.1 + 0.2, [1, 2, 3, 4, 5]], [6735.25, 1, 2, [1e-7, None]], [6740, 3, 4, []]]

# Imports what is staged and ends, as if it were killed, at the call of one function.
DYING_IMPORT = """
import os, sys
from pathlib import Path
from gex_pipeline.history import importing
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import load_settings

_, data_dir, partition, place, how = sys.argv
setattr(importing, place, lambda *_, **__: os._exit(9))
settings = load_settings(data_dir=Path(data_dir))
importing.import_staged(settings, Partition.parse(partition), "killed", replace=how == "replace")
"""

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


def capture_live(settings: Settings, *captures: object) -> None:
    """Capture snapshots as the gateway does and load them."""
    settings.journal_dir.mkdir(parents=True, exist_ok=True)
    name_journal(settings.journal_dir)
    with segment_path(settings.journal_dir, 1).open("ab") as segment:
        for capture in captures:
            segment.write(encode_record("gex", epoch_ms(), msgspec.json.encode(capture)))
    loader = Loader(settings)
    while loader.load_next():
        pass


def announce_url(settings: Settings, partition: Partition, url: str) -> None:
    """Queue a URL for a partition, as the loader does."""
    with lease(settings.database_path, purpose="announce", timeout_seconds=30) as connection:
        ensure_schema(connection)
        announce(connection, partition.feed, partition.date, url=url, metadata=None, announced_at_ms=epoch_ms())


def stored(settings: Settings) -> list[list[tuple[Any, ...]]]:
    with lease(settings.database_path, purpose="look") as connection:
        return [
            connection.execute(f"FROM {table} ORDER BY ALL").fetchall() for table in ("gex_snapshots", "gex_strikes")
        ]


def import_and_die(settings: Settings, place: str, *, replace: bool = False) -> None:
    """Import what is staged in another process, which dies at the call of a function of `importing`."""
    how = "replace" if replace else "insert"
    command = [sys.executable, "-c", DYING_IMPORT, str(settings.data_dir), ZERO.key, place, how]
    assert subprocess.run(command, env=clean_environment(), timeout=60, check=False).returncode == 9
