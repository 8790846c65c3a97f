"""One import, timed in this process step by step: `python -m gex_pipeline.bench.import_run FILE PARTITION DATA_DIR`.

The steps are those of `gex import`, one after the other.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from gex_pipeline.bench.runs import ImportRun, peak_mb
from gex_pipeline.bench.turns import BenchmarkError, say
from gex_pipeline.history.day import export_tables, import_rows, stage_file
from gex_pipeline.history.download import SourceFile
from gex_pipeline.history.judging import PUBLISHED, STAGED, STORED, Check, judge
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.files import sha256_of
from gex_pipeline.trading_days import is_trading_day


def import_once(settings: Settings, partition: Partition, file: Path) -> ImportRun:
    """Import a file and take the time of each step.

    Raises:
        BenchmarkError: a check failed, or the rows were there already.
    """
    stages: dict[str, float] = {}

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        stages[stage] = time.perf_counter() - started

    with timed("checksum"):
        source = SourceFile(file, sha256_of(file))
    with timed("stage"):
        staged = stage_file(settings, partition, source, None).summary
    with timed("check what is staged"):
        _require(STAGED, settings, partition)
    with timed("import"):
        imported = import_rows(settings, partition, None)
    with timed("check what is stored"):
        _require(STORED, settings, partition)
    with timed("export"):
        list(export_tables(settings, partition))
    with timed("check what is published"):
        _require(PUBLISHED, settings, partition)
    if imported.counts.snapshots != staged.snapshots:
        raise BenchmarkError(f"{staged.snapshots:,} snapshots were staged and {imported.counts.snapshots:,} imported")
    return ImportRun(stages, peak_mb(), imported.lease_seconds, staged.snapshots, staged.strikes)


def _require(checks: tuple[Check, ...], settings: Settings, partition: Partition) -> None:
    for check, verdict in zip(checks, judge(checks, settings, partition), strict=True):
        if not verdict.passed and not check.is_warning:
            raise BenchmarkError(f"{check.asset} {check.name} failed: {verdict.description}")


def main() -> None:
    """Import once; Python's imports are not part of the time."""
    duckdb.connect().close()  # nor is what the first connection of a process loads
    file, key, data_dir = sys.argv[1:4]
    partition = Partition.parse(key)
    is_trading_day(partition.date)  # nor the calendar, which the processes that import have built as they started
    say(import_once(load_settings(data_dir=Path(data_dir)), partition, Path(file)))


if __name__ == "__main__":
    main()
