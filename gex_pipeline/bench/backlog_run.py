"""A backlog after an outage; loaded in a fresh process: `python -m gex_pipeline.bench.backlog_run FOLDER COUNT`."""

import datetime as dt
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gex_pipeline.bench.runs import peak_mb
from gex_pipeline.bench.turns import Tell, in_fresh_process, say, scratch_folder, take_turns
from gex_pipeline.demo.sessions import Session, snapshots
from gex_pipeline.feeds import Feed
from gex_pipeline.journal import encode_record, name_journal, segment_path
from gex_pipeline.loader.loading import Loader
from gex_pipeline.settings import load_settings

# An hour of five feeds at a snapshot a second is 18,000.
COUNT = 20_000
SEGMENT_RECORDS = 10_000
SAMPLE = Session(feed=Feed("NQ_NDX", "gex_zero"), date=dt.date(2025, 11, 14), snapshots=200, strikes=100)


@dataclass(frozen=True)
class BacklogRun:
    """What loading needed.

    Attributes:
        seconds: from the first batch to the last commit, with archiving.
        peak_mb: the most memory the process ever had resident, 10^6 bytes.
    """

    snapshots: int
    seconds: float
    peak_mb: float

    @property
    def per_second(self) -> float:
        """Snapshots loaded in a second."""
        return self.snapshots / self.seconds


def measure_backlog(*, count: int, repeat: int, tell: Tell) -> BacklogRun:
    """Load a backlog into an empty database again and again; the median of the seconds, the most memory.

    Raises:
        BenchmarkError: a run failed.
    """

    def run(_turn: int) -> BacklogRun:
        with scratch_folder() as folder:
            return in_fresh_process("backlog_run", folder, count, cwd=folder, result=BacklogRun)

    runs: Sequence[BacklogRun] = take_turns({"backlog": run}, repeat, tell)["backlog"]
    return BacklogRun(count, statistics.median(each.seconds for each in runs), max(each.peak_mb for each in runs))


def write_backlog(journal_dir: Path, count: int) -> None:
    """Write a journal as the gateway does while nobody loads: so many snapshots, a second apart."""
    journal_dir.mkdir(parents=True)
    name_journal(journal_dir)
    ladders = list(snapshots(SAMPLE))
    first = int(str(ladders[0]["timestamp"]))

    def line(number: int) -> bytes:
        body = ladders[number % len(ladders)] | {"timestamp": first + number}
        return encode_record("gex", 1000 * (first + number), msgspec.json.encode(body))

    for segment, start in enumerate(range(0, count, SEGMENT_RECORDS), start=1):
        numbers = range(start, min(start + SEGMENT_RECORDS, count))
        segment_path(journal_dir, segment).write_bytes(b"".join(map(line, numbers)))


def load_backlog(folder: Path, count: int) -> BacklogRun:
    """Write a backlog and load all of it."""
    settings = load_settings(data_dir=folder / "data")
    write_backlog(settings.journal_dir, count)
    loader = Loader(settings)
    started = time.perf_counter()
    while loader.load_next():
        loader.archive_loaded()
    return BacklogRun(count, time.perf_counter() - started, peak_mb())


if __name__ == "__main__":
    say(load_backlog(Path(sys.argv[1]), int(sys.argv[2])))
