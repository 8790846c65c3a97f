"""What a running gateway says and does about each fault around it, and what becomes of the captures."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from gex_pipeline.journal import list_segments, segment_path
from gex_pipeline.loader.__main__ import LONGEST_RETRY_SECONDS, retry_pauses
from gex_pipeline.loader.status import LoaderStatus, read_status, write_status
from gex_pipeline.settings import load_settings
from gex_pipeline_tests.child_faults import CLOCK_IS_OFF, FSYNC_FAILS, environment_with
from gex_pipeline_tests.processes import (
    GatewayProcess,
    clean_environment,
    free_port,
    gateway_command,
    running_gateway,
    wait_until,
)
from webhook_gateway import health


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    with running_gateway(tmp_path / "data") as gateway:
        wait_until(lambda: gateway.ready()["status"] == "ready", 20)
        yield gateway


def post(gateway: GatewayProcess, number: int) -> requests.Response:
    return requests.post(f"{gateway.url}/uw", json=["alerts", {"number": number}], timeout=30)


def loaded(gateway: GatewayProcess) -> list[int]:
    gateway.wait_until_loaded(45)
    rows = gateway.rows("SELECT (payload->>'number')::INT FROM universal_webhooks ORDER BY ALL")
    return [number for (number,) in rows]


def why(gateway: GatewayProcess, check: str) -> str:
    return str(gateway.ready()["checks"][check]["error"] or "")


# The database


def of_a_newer_duckdb(database: Path) -> None:
    """Give the file the version of a format that nobody knows yet, at its place behind checksum and magic bytes."""
    with database.open("r+b") as file:
        file.seek(12)
        file.write((9999).to_bytes(8, "little"))


def overwritten(database: Path) -> None:
    database.write_bytes(b"this is no database" * 1000)


def unreadable_folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


@pytest.mark.parametrize("damage", [of_a_newer_duckdb, overwritten, unreadable_folder])
def test_captures_go_on_while_the_database_cannot_be_used_and_are_loaded_when_it_can(
    gateway: GatewayProcess, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    database, kept = gateway.data_dir / "gex_data.db", tmp_path / "kept.db"
    assert post(gateway, 0).ok
    gateway.wait_until_loaded()
    shutil.copyfile(database, kept)
    damage(database)
    assert post(gateway, 1).ok
    wait_until(lambda: gateway.ready()["status"] == "degraded", 20)
    assert "gex_data.db" in why(gateway, "loader")
    assert why(gateway, "loader") in gateway.log
    assert post(gateway, 2).ok
    if database.is_dir():
        database.rmdir()
    kept.replace(database)
    assert loaded(gateway) == [0, 1, 2]
    wait_until(lambda: gateway.ready()["status"] == "ready", 20)


def test_a_database_that_is_deleted_is_filled_again_without_anybody_waiting(gateway: GatewayProcess) -> None:
    assert post(gateway, 0).ok
    gateway.wait_until_loaded()
    (gateway.data_dir / "gex_data.db").unlink()
    assert post(gateway, 1).ok
    wait_until((gateway.data_dir / "gex_data.db").exists, 20)
    assert loaded(gateway) == [0, 1]


def test_attempts_with_a_database_that_is_held_come_twice_as_late_each_time_up_to_half_a_minute() -> None:
    waited = 0.0
    pauses = []
    for pause in retry_pauses():
        pauses.append(pause)
        waited += pause
        if waited > 3600:
            break
    assert pauses[0] <= 0.5
    assert max(pauses) <= LONGEST_RETRY_SECONDS == 30
    assert all(later < 4.01 * earlier for earlier, later in pairwise(pauses))
    assert min(pauses[8:]) >= 15
    assert len(pauses) < 250


# The journal


def test_a_journal_folder_that_is_deleted_is_made_anew_and_takes_captures(gateway: GatewayProcess) -> None:
    assert post(gateway, 0).ok
    gateway.wait_until_loaded()
    shutil.rmtree(gateway.data_dir / "journal")
    answer = requests.get(f"{gateway.url}/ready", timeout=10)
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert "is gone" in answer.json()["checks"]["journal"]["error"]
    assert post(gateway, 1).status_code == 200
    assert "is gone: what was not loaded of it is lost" in gateway.log
    wait_until(lambda: gateway.ready()["status"] == "ready", 20)
    assert loaded(gateway) == [0, 1]
    assert "is another one than before" in gateway.log


def test_no_capture_is_taken_into_a_journal_that_was_moved_away(gateway: GatewayProcess, tmp_path: Path) -> None:
    assert post(gateway, 0).ok
    gateway.wait_until_loaded()
    (gateway.data_dir / "journal").rename(tmp_path / "moved")
    assert post(gateway, 1).status_code == 200
    assert b'"number":1' not in b"".join(path.read_bytes() for path in (tmp_path / "moved").glob("*.jsonl"))
    assert loaded(gateway) == [0, 1]


def test_a_segment_that_is_deleted_is_reported_and_the_next_capture_goes_to_another(gateway: GatewayProcess) -> None:
    journal_dir = gateway.data_dir / "journal"
    assert post(gateway, 0).ok
    gateway.wait_until_loaded()
    segment_path(journal_dir, 1).unlink()
    assert post(gateway, 1).status_code == 200
    assert list_segments(journal_dir) == [2]
    assert loaded(gateway) == [0, 1]
    wait_until(lambda: "missing: segment 1 of the journal" in gateway.log, 10)
    lineage = requests.get(f"{gateway.url}/lineage", params={"status": "failed"}, timeout=10).json()
    assert "missing: segment 1" in lineage[0]["errors"]


def test_captures_are_refused_while_the_whole_data_folder_is_gone(gateway: GatewayProcess, tmp_path: Path) -> None:
    gateway.data_dir.rename(tmp_path / "unmounted")
    answer = post(gateway, 1)
    assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
    assert not gateway.data_dir.exists()
    assert gateway.ready()["status"] == "unavailable"
    (tmp_path / "unmounted").rename(gateway.data_dir)
    assert post(gateway, 2).ok
    assert loaded(gateway) == [2]


def test_the_torn_line_of_a_killed_gateway_is_kept_as_soon_as_the_next_one_runs(gateway: GatewayProcess) -> None:
    assert post(gateway, 0).ok
    gateway.kill()
    with segment_path(gateway.data_dir / "journal", 1).open("ab") as segment:
        segment.write(b'{"received_at":17631306')
    gateway.start()
    quarantine = gateway.data_dir / "quarantine"
    wait_until(lambda: [path for path in quarantine.rglob("*.jsonl") if "torn: " in path.read_text()], 20)
    assert loaded(gateway) == [0]


def test_a_sync_that_fails_refuses_the_capture_and_the_next_one_that_works_is_taken(tmp_path: Path) -> None:
    environment = environment_with(FSYNC_FAILS, tmp_path / "site")
    with running_gateway(tmp_path / "data", PYTHONPATH=environment["PYTHONPATH"]) as gateway:
        assert post(gateway, 0).ok
        (tmp_path / "fsync fails").touch()
        for number in (1, 2):
            answer = post(gateway, number)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert "Input/output error" in answer.text
        assert (gateway.ready()["status"], why(gateway, "journal")) == ("unavailable", "Input/output error")
        (tmp_path / "fsync fails").unlink()
        assert post(gateway, 3).ok
        assert loaded(gateway) == [0, 3]
        assert list_segments(gateway.data_dir / "journal")[-1] > 1, "a file that failed is not appended to again"


# Processes


def test_a_second_gateway_on_the_same_journal_refuses_to_start(gateway: GatewayProcess) -> None:
    command = gateway_command("--port", str(free_port()), "--data-dir", str(gateway.data_dir))
    second = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert "another gateway is writing the journal" in second.stderr
    assert post(gateway, 1).ok
    assert loaded(gateway) == [1]


def test_a_second_loader_gives_up_and_the_first_goes_on(gateway: GatewayProcess) -> None:
    impatient = "import sys; from gex_pipeline.loader import __main__ as loader; loader.TAKEOVER_SECONDS = 1"
    command = [sys.executable, "-c", f"{impatient}; sys.exit(loader.main())", "--data-dir", str(gateway.data_dir)]
    second = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert "another loader is at work in" in second.stderr
    assert post(gateway, 1).ok
    assert loaded(gateway) == [1]


def test_a_loader_that_died_is_not_believed_to_be_alive(gateway: GatewayProcess) -> None:
    loader = gateway.loader_id()
    assert loader is not None
    os.kill(loader, signal.SIGKILL)
    wait_until(lambda: gateway.ready()["status"] == "degraded", 5)
    assert why(gateway, "loader").startswith("the loader was ended by SIGKILL; starting it again in")
    wait_until(lambda: gateway.ready()["status"] == "ready", 20)


# The clock


def test_a_clock_that_jumps_back_hides_nothing_and_holds_nothing_up(tmp_path: Path) -> None:
    environment = environment_with(CLOCK_IS_OFF, tmp_path / "site")
    with running_gateway(tmp_path / "data", PYTHONPATH=environment["PYTHONPATH"]) as gateway:
        assert post(gateway, 0).ok
        wait_until(lambda: gateway.ready()["status"] == "ready", 20)
        (tmp_path / "clock is off").write_text("-7200")
        before = read_status(gateway.data_dir / "journal")
        assert before is not None
        assert post(gateway, 1).ok
        assert loaded(gateway) == [0, 1]
        wait_until(lambda: told_at(gateway) > before.told_at + 3, 10)
        assert gateway.ready()["status"] == "ready"
        (tmp_path / "clock is off").write_text("-14400")
        loader = gateway.loader_id()
        assert loader is not None
        os.kill(loader, signal.SIGSTOP)
        try:
            assert post(gateway, 2).ok
            wait_until(lambda: gateway.ready()["checks"]["backlog"]["age_seconds"] > 1, 10)
        finally:
            os.kill(loader, signal.SIGCONT)


def told_at(gateway: GatewayProcess) -> float:
    status = read_status(gateway.data_dir / "journal")
    return status.told_at if status else 0.0


@pytest.mark.parametrize(
    ("silent_seconds", "says"), [(1, None), (29, None), (31, "not been heard of for 31 s"), (-5, "not been heard of")]
)
def test_a_loader_that_falls_silent_is_noticed(tmp_path: Path, silent_seconds: float, says: str | None) -> None:
    settings = load_settings(data_dir=tmp_path)
    settings.journal_dir.mkdir()
    now = time.monotonic()
    write_status(settings.journal_dir, LoaderStatus(os.getpid(), now - silent_seconds, 1, 0, now, None))
    gateway: Any = SimpleNamespace(settings=settings, loader=SimpleNamespace(last_end=None))
    found = health._why_not_loading(gateway, read_status(settings.journal_dir))
    assert (found is None) if says is None else (says in str(found))
