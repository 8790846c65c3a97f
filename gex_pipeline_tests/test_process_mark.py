"""A process is known by its mark until it has ended."""

import os
import signal
import subprocess
import sys

from gex_pipeline.process_mark import interrupt, is_gone, process_mark

CODE = "from gex_pipeline.process_mark import process_mark; print(process_mark(), flush=True); input()"


def test_a_process_is_there_until_it_is_killed_collected_or_not() -> None:
    with subprocess.Popen([sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        mark = process.stdout.readline().decode().strip()
        assert f":{process.pid}:" in mark
        assert not is_gone(mark)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(mark)
    assert is_gone(mark)


def test_another_process_with_the_same_id_is_not_taken_for_it() -> None:
    mark = process_mark()
    assert not is_gone(mark)
    assert is_gone(f"{mark}0")
    host, _, process_id, started = mark.rsplit(":", 3)
    assert is_gone(f"{host}:another boot:{process_id}:{started}")


def test_a_process_is_interrupted_by_its_mark_and_no_other_in_its_place() -> None:
    with subprocess.Popen([sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        mark = process.stdout.readline().decode().strip()
        assert not interrupt(f"{mark}0")
        assert not interrupt(f"elsewhere.{mark}")
        assert process.poll() is None
        assert interrupt(mark)
        assert process.wait(10) == -signal.SIGINT
    assert not interrupt(mark)


def test_of_a_process_on_another_host_nothing_is_known() -> None:
    assert not is_gone(f"elsewhere.{process_mark()}0")
