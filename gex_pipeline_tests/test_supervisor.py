"""`gex up`: one command that runs everything, keeps it running and stops all of it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from gex_pipeline import supervisor
from gex_pipeline_tests.processes import clean_environment, free_port, gex, wait_until

START_SECONDS = 90.0


@contextmanager
def up(data_dir: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `gex up` in a folder of its own, its messages in `up.log` beside the data."""
    command = [sys.executable, "-m", "gex_pipeline.cli", "up", "--data-dir", str(data_dir), *flags]
    with (data_dir.parent / "up.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=data_dir.parent, env=clean_environment(), stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(90)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def processes_naming(text: str) -> set[int]:
    """Return the processes whose command line or environment names a text."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in told and int(folder.name) != os.getpid():
            found.add(int(folder.name))
    return found


def command_of(pid: int) -> str:
    """Return the script that a process of ours runs; empty for another, or for one that has ended."""
    try:
        _, _, rest = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")
        return rest.partition(b"\0")[0].decode()
    except OSError:
        return ""


def test_everything_starts_is_kept_running_and_stops_without_leaving_anything(tmp_path: Path) -> None:
    data_dir, port, dagster_port = tmp_path / "data", free_port(), free_port()
    ready = f"http://127.0.0.1:{port}/ready"
    with up(data_dir, "--port", str(port), "--dagster-port", str(dagster_port)) as process:
        wait_until(lambda: answers(ready), START_SECONDS)
        wait_until(lambda: answers(f"http://127.0.0.1:{dagster_port}/server_info"), START_SECONDS)
        log = tmp_path / "up.log"
        wait_until(lambda: f"http://127.0.0.1:{dagster_port}" in log.read_text(), START_SECONDS)

        asked = [f"--port={port}", f"--dagster-port={dagster_port}"]
        wait_until(lambda: gex("status", *asked, data_dir=data_dir).returncode == 0, 60)

        ports = ["--port", str(free_port()), "--dagster-port", str(free_port())]
        again = [sys.executable, "-m", "gex_pipeline.cli", "up", "--data-dir", str(data_dir), *ports]
        second = subprocess.run(again, env=clean_environment(), capture_output=True, text=True, check=False)
        assert second.returncode == 2
        assert second.stderr == f"gex: gex up already runs on {data_dir}; stop it first\n"

        loader = requests.get(ready, timeout=5).json()["checks"]["loader"]["process"]
        gateway = int(Path(f"/proc/{loader}/status").read_text().split("PPid:")[1].split()[0])
        mine = os.getpriority(os.PRIO_PROCESS, 0)
        [daemon] = [pid for pid in processes_naming(str(data_dir)) if command_of(pid).endswith("dagster-daemon")]
        captures_go_first = {gateway: mine, loader: min(mine + 5, 19), daemon: min(mine + 10, 19)}
        assert {pid: os.getpriority(os.PRIO_PROCESS, pid) for pid in captures_go_first} == captures_go_first
        os.kill(gateway, signal.SIGKILL)
        wait_until(lambda: not answers(ready), 10)
        wait_until(lambda: answers(ready), 30)
        assert "gateway ended; starting it again" in log.read_text()

        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert "Traceback" not in log.read_text()
    assert processes_naming(str(data_dir)) == set()


def test_a_port_that_is_taken_stops_the_start_with_one_line(tmp_path: Path) -> None:
    for flag, variable in (("--port", "GEX_PORT"), ("--dagster-port", "GEX_DAGSTER_PORT")):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            ports = {"--port": str(free_port()), "--dagster-port": str(free_port())} | {flag: port}
            with up(tmp_path / "data", *(word for pair in ports.items() for word in pair)) as process:
                assert process.wait(60) == 2
        assert f"gex: {variable}={port}: cannot listen on 127.0.0.1:{port}: " in (tmp_path / "up.log").read_text()
    assert len((tmp_path / "up.log").read_text().splitlines()) == 2


def test_dagster_that_never_stays_up_does_not_end_the_gateway_and_a_gateway_that_never_does_ends_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "MAX_QUICK_ENDS", 1)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_SECONDS", 0.1)
    gateway = supervisor.Child("gateway", ["/bin/sleep", "60"], {})
    dagster = supervisor.Child("Dagster UI", ["/bin/false"], {})
    stop = supervisor._StopFlag.__new__(supervisor._StopFlag)  # without taking this process's signals over
    stop.is_set = False
    for child in (gateway, dagster):
        child.start()
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(supervisor._watch, [gateway, dagster], stop)
        try:
            wait_until(lambda: dagster.quick_ends > 3, 20)
            assert gateway.is_running
            assert not watching.done()
            gateway.command = ["/bin/false"]
            os.kill(gateway.process.pid, signal.SIGKILL)  # type: ignore[union-attr]
            assert watching.result(20) == 1
        finally:
            stop.is_set = True
            for child in (gateway, dagster):
                child.stop()
    assert "gateway does not stay up" in caplog.text
