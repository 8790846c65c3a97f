"""`gex import` interrupted, killed, or robbed of a process: whole days, and the same command goes on."""

import datetime as dt
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
from filelock import FileLock

from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition
from gex_pipeline_tests.bulk_import.command import (
    MANY,
    NOISE,
    SNAPSHOTS,
    STRIKES,
    TABLES,
    Told,
    assert_whole,
    command,
    dagster_of,
    published,
    query,
    run,
    settings_of,
    stored,
)
from gex_pipeline_tests.processes import clean_environment, is_running, wait_until


class Running:
    """The command at work on many days, in a session of its own."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            command("many"),
            env=clean_environment(GEX_DATA_DIR="data"),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def read_until(self, beginning: str) -> list[str]:
        """Return what it says up to the first line that begins so."""
        assert self.process.stderr is not None
        lines: list[str] = []
        while not (lines and lines[-1].startswith(beginning)):
            lines.append(self.process.stderr.readline())
            assert lines[-1], lines
        return lines

    def workers(self) -> list[int]:
        """Return the process ids of those who stage."""
        found = []
        for status in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                is_of_session = os.getsid(int(status.parent.name)) == self.process.pid
                if is_of_session and "spawn_main" in status.read_text() and is_running(int(status.parent.name)):
                    found.append(int(status.parent.name))
        return found

    def end(self) -> Told:
        """Wait for the end, of all its processes too."""
        output, errors = self.process.communicate(timeout=300)
        wait_until(lambda: not self.workers(), 10)
        # Python says what a process that was killed had no chance to put away.
        if self.process.returncode != -signal.SIGKILL:
            assert not [word for word in NOISE if word in output + errors], errors
        return Told(self.process.returncode, output.strip(), errors.splitlines())


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    started = Running(folder)
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.process.pid, signal.SIGKILL)
        started.process.wait()


def test_an_import_that_is_cut_off_leaves_whole_days_and_the_same_command_goes_on(
    many: Path, undisturbed: Path
) -> None:
    done = 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with running(many) as started:
            lines = started.read_until("imported ")
            started.process.send_signal(number)
            told = started.end()
        if number is signal.SIGKILL:
            assert told.code == -number
        else:
            assert told.code == 130
            left = len(MANY) - len(lines) - len(told.lines)
            assert told.summary == f"interrupted with {left} files left; the same command goes on with them"
        assert len([line for line in lines if line.startswith("skipped ")]) >= done
        days = [
            query(many, f"SELECT count(*) FROM gex_{table} GROUP BY timestamp // 86400000")  # noqa: S608
            for table in TABLES
        ]
        assert done < len(days[0]) == len(days[1]) < len(MANY)
        assert [set(sizes) for sizes in days] == [{(SNAPSHOTS,)}, {(SNAPSHOTS * STRIKES,)}]
        done = len(days[0])
    with dagster_of(many) as instance:
        interrupted = [each.status for each in instance.get_runs()][1:]
        assert interrupted == [dg.DagsterRunStatus.CANCELED] * 2
    assert query(many, "SELECT count(*) FROM data_lineage WHERE status NOT IN ('imported', 'unchanged')") == [(0,)]

    told = run(many, "many")
    imported, skipped = (len([line for line in told.lines if line.startswith(word)]) for word in ("imported", "skip"))
    assert (told.code, told.summary) == (0, f"{imported} imported, {skipped} skipped, 0 refused, 0 failed")
    assert imported + skipped == len(MANY)
    assert stored(many) == stored(undisturbed)
    assert published(many) == published(undisturbed)
    assert_whole(many, MANY)


def test_ctrl_c_while_the_staging_processes_start_is_as_quiet(many: Path) -> None:
    with running(many) as started:
        wait_until(started.workers, 30)
        time.sleep(0.4)  # they import their modules by then
        os.killpg(started.process.pid, signal.SIGINT)
        told = started.end()
    assert told.code == 130
    assert told.summary.startswith("interrupted with ")


def test_a_file_whose_staging_process_is_killed_fails_alone(many: Path) -> None:
    """As when memory runs out: the process that has the first file is killed, and so is the second one that tries."""
    first = Partition(Feed("SPX", "gex_zero"), dt.date(2025, 11, 3))
    settings = settings_of(many)
    locked = first.staged(settings, "snapshots").with_name(".20251103.lock")
    locked.parent.mkdir(parents=True)
    with FileLock(locked), running(many) as started:
        wait_until(lambda: first.source(settings).with_suffix(".json.sha256").exists(), 30)
        before = set(started.workers())
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        (many / "many" / "2025-11-12_SPX_classic_gex_zero.json").unlink()
        wait_until(lambda: set(started.workers()) - before, 30)
        for worker in started.workers():
            os.kill(worker, signal.SIGKILL)
        told = started.end()
    assert (told.code, told.summary) == (1, f"{len(MANY) - 2} imported, 0 skipped, 0 refused, 2 failed")
    assert told.of("2025-11-03").endswith(": the process that read it was killed; was memory short?")
    assert "No such file or directory" in told.of("2025-11-12")
    assert_whole(many, {key for key in MANY if not key.startswith(("2025-11-03", "2025-11-12"))})
