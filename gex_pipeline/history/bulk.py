"""Many history files at once: worker processes stage them, and one after the other they go into the database."""

import atexit
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa

from gex_pipeline.errors import GexError, PermanentError
from gex_pipeline.history.attempts import Attempt, record_attempt
from gex_pipeline.history.candidates import Candidate
from gex_pipeline.history.day import Staged, export_tables, import_rows, stage_file
from gex_pipeline.history.download import adopt
from gex_pipeline.history.exporting import Exported
from gex_pipeline.history.importing import ImportResult
from gex_pipeline.history.judging import PUBLISHED, STAGED, STORED, Check, judge, refusals
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.history.verdicts import Verdict
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import sha256_of

Judged = tuple[tuple[Check, Verdict], ...]
UnderWay = deque[tuple[Candidate, Future["Day | Outcome"]]]
# What may go wrong with one file and leave the others as they are.
FAILURES = (GexError, OSError, duckdb.Error, pa.ArrowException, MemoryError)


@dataclass(frozen=True)
class Day:
    """The steps taken for one partition, as far as they went, with the verdicts of their checks."""

    partition: Partition
    staged: Staged
    judged: Judged
    imported: ImportResult | None = None
    exported: tuple[tuple[Table, Exported], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        status: `imported` (also when all of it was there), `skipped` (nothing was left to do), `refused` (it cannot
            be imported as it is) or `failed` (it may be, another time).
        reason: why it was refused or failed, else empty.
        day: what was done; None when nothing was.
    """

    path: Path
    status: Literal["imported", "skipped", "refused", "failed"]
    reason: str = ""
    day: Day | None = None


def import_files(
    settings: Settings,
    candidates: Sequence[Candidate],
    finished: Mapping[str, frozenset[str]],
    *,
    run_id: str,
    workers: int,
) -> Generator[Outcome]:
    """Import files one by one while worker processes stage the next ones; each file has a transaction of its own.

    Closing the generator, or an interrupt, leaves the partition at hand as it was; those before it are done. When a
    worker is killed, the files that were under way are tried once more, each by itself, to find the one it was.

    Args:
        settings: where everything is.
        candidates: what to import; two files of one partition are taken one after the other.
        finished: for each partition key the SHA-256 of files of which every step is done; they are skipped.
        run_id: for the lineage.
        workers: how many processes stage.
    """
    waiting, under_way, done, alone = deque(candidates), UnderWay(), dict(finished), 0
    while waiting or under_way:
        try:
            with _staging_processes(workers) as pool:
                while waiting or under_way:
                    while (candidate := _next(waiting, under_way, 0 if alone else workers)) is not None:
                        known = done.get(candidate.partition.key, frozenset())
                        with _interrupts_held():
                            future = pool.submit(_stage, settings, candidate, known, run_id)
                        waiting.remove(candidate)
                        under_way.append((candidate, future))
                    candidate, future = under_way[0]
                    outcome = _finish(settings, candidate, future.result(), run_id)
                    under_way.popleft()
                    alone = max(0, alone - 1)
                    if outcome.status == "imported" and outcome.day:
                        key = candidate.partition.key
                        done[key] = done.get(key, frozenset()) | {outcome.day.staged.source.sha256}
                    yield outcome
        except BrokenProcessPool:
            suspects = [candidate for candidate, _ in under_way]
            under_way.clear()
            if len(suspects) == 1:
                alone = max(0, alone - 1)
                yield Outcome(suspects[0].path, "failed", "the process that read it was killed; was memory short?")
            else:
                alone = len(suspects)
                waiting.extendleft(reversed(suspects))


def _next(waiting: Sequence[Candidate], under_way: UnderWay, ahead: int) -> Candidate | None:
    """Return what is to be staged next: the first file whose partition is not under way; None when so many are."""
    if len(under_way) > ahead:
        return None
    busy = {candidate.partition for candidate, _ in under_way}
    return next((candidate for candidate in waiting if candidate.partition not in busy), None)


def _stage(settings: Settings, candidate: Candidate, finished: frozenset[str], run_id: str) -> Day | Outcome:
    """Stage and judge one file; runs in a worker."""
    path, partition = candidate.path, candidate.partition
    try:
        if finished and sha256_of(path) in finished:
            return Outcome(path, "skipped")
        staged = stage_file(settings, partition, adopt(settings, partition, path), run_id)
        day = Day(partition, staged, _judge(STAGED, settings, partition))
        if not (reasons := refusals(STAGED, [verdict for _, verdict in day.judged])):
            return day
        record_attempt(settings, Attempt.of_staged(settings, partition, run_id), "refused", reasons)
        return Outcome(path, "refused", reasons, day)
    except FAILURES as error:
        return _failed(path, error)


def _finish(settings: Settings, candidate: Candidate, staged: Day | Outcome, run_id: str) -> Outcome:
    """Import, export and judge what a worker staged."""
    path, partition = candidate.path, candidate.partition
    if isinstance(staged, Outcome):
        return staged
    try:
        imported = import_rows(settings, partition, run_id)
        stored = _judge(STORED, settings, partition)
        exported = tuple(export_tables(settings, partition))
        judged = (*staged.judged, *stored, *_judge(PUBLISHED, settings, partition))
    except FAILURES as error:
        return _failed(path, error)
    day = Day(partition, staged.staged, judged, imported, exported)
    wrong = [
        f"{check.asset} {check.name}: {verdict.description}"
        for check, verdict in judged
        if not verdict.passed and not check.is_warning
    ]
    return Outcome(path, "failed" if wrong else "imported", "; ".join(wrong), day)


def _judge(checks: tuple[Check, ...], settings: Settings, partition: Partition) -> Judged:
    return tuple(zip(checks, judge(checks, settings, partition), strict=True))


def _failed(path: Path, error: Exception) -> Outcome:
    reason = " ".join(str(error).split()) or type(error).__name__
    return Outcome(path, "refused" if isinstance(error, PermanentError) else "failed", reason)


@contextmanager
def _staging_processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Run worker processes; at the end let them finish what they have begun, and begin nothing more."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back in processes started meanwhile, for good, and in this one until the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker() -> None:
    """Do not outlive the parent process, to which Ctrl-C is left."""
    # DuckDB's binding reports leaks when Python is taken down while a thread waits.
    atexit.register(os._exit, 0)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    with suppress(OSError):
        wait([sentinel])
    os._exit(1)
