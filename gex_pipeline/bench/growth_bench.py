"""How imports grow: into a database with weeks in it against an empty one, a file four times as large against one."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gex_pipeline.bench.import_bench import import_file, import_into_empty
from gex_pipeline.bench.runs import ImportFigures, ImportRun, summarise
from gex_pipeline.bench.session_files import partition_of
from gex_pipeline.bench.turns import Tell, in_fresh_process, scratch_folder, take_turns
from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition

GROWN_ROWS = 45_000_000
EMPTY, GROWN, FOURFOLD = "into an empty database", "into a grown database", "a file four times as large"


@dataclass(frozen=True)
class Growth:
    """Imports of the same kind of file that took turns.

    Attributes:
        rows: strikes that the grown database held before.
        megabytes: size of the day's file, 10^6 bytes.
        fourfold_megabytes: of the file with four times the snapshots.
    """

    rows: int
    megabytes: float
    fourfold_megabytes: float
    empty: ImportFigures
    grown: ImportFigures
    fourfold: ImportFigures

    @property
    def grown_ratio(self) -> float:
        """How many times as long an import takes when the database has grown."""
        return self.grown.seconds / self.empty.seconds

    @property
    def fourfold_ratio(self) -> float:
        """How many times as long each megabyte of the larger file takes."""
        return self.fourfold.seconds / self.fourfold_megabytes * self.megabytes / self.empty.seconds


def measure_growth(day: Path, fourfold: Path, *, rows: int, repeat: int, tell: Tell) -> Growth:
    """Import a generated day into empty databases and into one that has grown, and the larger file.

    Args:
        day: the file, as `session_files` writes it.
        fourfold: the one with each snapshot four times.
        rows: strikes that the grown database holds.
        repeat: how many rounds, at least 1.
        tell: told which run is next.

    Raises:
        BenchmarkError: a run failed.
    """
    partition = partition_of(day)
    with scratch_folder() as folder:
        tell(f"make a database of {rows:,} strikes")
        in_fresh_process("grown", rows, partition.key, folder / "data" / "gex_data.db", cwd=folder, result=int)
        contenders = {
            EMPTY: partial(import_into_empty, day, partition),
            GROWN: partial(_import_into_grown, day, partition, folder),
            FOURFOLD: partial(import_into_empty, fourfold, partition),
        }
        runs = take_turns(contenders, repeat, tell)
    sizes = day.stat().st_size / 1e6, fourfold.stat().st_size / 1e6
    return Growth(rows, *sizes, summarise(runs[EMPTY]), summarise(runs[GROWN]), summarise(runs[FOURFOLD]))


def _import_into_grown(day: Path, partition: Partition, folder: Path, turn: int) -> ImportRun:
    """Import into the same database once more: an endpoint of its own makes each turn's rows new ones."""
    feed = Feed(partition.feed.ticker, f"gex_turn_{turn}")
    return import_file(day, replace(partition, feed=feed), folder)
