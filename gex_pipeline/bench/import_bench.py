"""Imports of a day's file into an empty database, beside yardsticks that do the same work with less care."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gex_pipeline.bench import yardstick_import
from gex_pipeline.bench.runs import ImportFigures, ImportRun, summarise
from gex_pipeline.bench.session_files import partition_of
from gex_pipeline.bench.turns import Tell, in_fresh_process, scratch_folder, take_turns
from gex_pipeline.history.paths import Partition

OWN_YARDSTICK = Path(yardstick_import.__file__)
OURS = "gex import"


@dataclass(frozen=True)
class ImportComparison:
    """What importing one file took, everybody's turns in the same minutes.

    Attributes:
        megabytes: size of the file, 10^6 bytes.
        yardsticks: by the path of the script.
    """

    megabytes: float
    ours: ImportFigures
    yardsticks: dict[Path, ImportFigures]

    def ratio(self, yardstick: Path) -> float:
        """How many times as long as ours a yardstick took."""
        return self.yardsticks[yardstick].seconds / self.ours.seconds


def compare_imports(file: Path, yardsticks: Sequence[Path], *, repeat: int, tell: Tell) -> ImportComparison:
    """Import a file `repeat` times, each time in a fresh process into an empty folder; yardsticks take their turns.

    Args:
        file: a history file; it is only read.
        yardsticks: scripts that are called as `SCRIPT FILE DB PARQUET`.
        repeat: how many rounds, at least 1.
        tell: told which run is next.

    Raises:
        BenchmarkError: a run failed.
    """
    contenders = {OURS: partial(import_into_empty, file, partition_of(file))}
    contenders |= {str(script): partial(_run_script, script, file) for script in yardsticks}
    runs = take_turns(contenders, repeat, tell)
    return ImportComparison(
        file.stat().st_size / 1e6,
        summarise(runs[OURS]),
        {script: summarise(runs[str(script)]) for script in yardsticks},
    )


def import_into_empty(file: Path, partition: Partition, _turn: int) -> ImportRun:
    """Import a file into a folder with nothing in it."""
    with scratch_folder() as folder:
        return import_file(file, partition, folder)


def import_file(file: Path, partition: Partition, folder: Path) -> ImportRun:
    """Import a file in a process of its own."""
    arguments = file.absolute(), partition.key, folder / "data"
    return in_fresh_process("import_run", *arguments, cwd=folder, result=ImportRun)


def _run_script(script: Path, file: Path, _turn: int) -> ImportRun:
    with scratch_folder() as folder:
        arguments = script.absolute(), file.absolute(), folder / "gex_data.db", folder / "strikes.parquet"
        return in_fresh_process("script_run", *arguments, cwd=folder, result=ImportRun)
