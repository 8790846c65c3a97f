"""The gateway as a process: its start, its disk, its loader, its end."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gex_pipeline_tests.gateway_requests import CAPTURES, KEY, SNAPSHOT, get, journal_bytes, post, problems
from gex_pipeline_tests.processes import (
    GatewayProcess,
    clean_environment,
    free_port,
    gateway_command,
    is_running,
    running_gateway,
    wait_until,
)


def test_a_full_disk_refuses_captures_until_there_is_room_again(tmp_path: Path) -> None:
    def limit_file_size(gateway: GatewayProcess, size: int) -> None:
        resource.prlimit(gateway.process_id, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    with running_gateway(tmp_path / "data") as gateway:
        assert post(gateway, "/uw", ["disk", {"number": 0}]).status_code == 200
        limit_file_size(gateway, 10)
        for path, body, _ in CAPTURES:
            answer = post(gateway, path, body)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert "writable journal" in problems(answer)[0]["expected"]
        ready = get(gateway, "/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert ready.json()["checks"]["journal"]["error"] == "File too large"
        assert get(gateway, "/health").status_code == 200

        limit_file_size(gateway, resource.RLIM_INFINITY)
        assert post(gateway, "/uw", ["disk", {"number": 1}]).status_code == 200
        assert get(gateway, "/ready").status_code == 200
        gateway.wait_until_loaded()
        assert gateway.rows("SELECT payload FROM universal_webhooks") == [('{"number": 0}',), ('{"number": 1}',)]
        assert not (gateway.data_dir / "quarantine").exists()


def test_readiness_names_what_keeps_captures_from_being_loaded_and_recovers(tmp_path: Path) -> None:
    database = tmp_path / "data" / "gex_data.db"
    database.parent.mkdir()
    database.write_bytes(b"this is no database" * 1000)
    with running_gateway(database.parent) as gateway:
        wait_until(lambda: "gex_data.db" in (gateway.ready()["checks"]["loader"]["error"] or ""), 10)
        assert post(gateway, "/gex", SNAPSHOT).status_code == 202
        ready = get(gateway, "/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        checks = ready.json()["checks"]
        assert {name: check["ok"] for name, check in checks.items()} == {
            "journal": True, "loader": False, "backlog": True, "disk": True,
        }  # fmt: skip
        assert "gex_data.db cannot be opened" in checks["loader"]["error"]
        assert checks["backlog"]["bytes"] == journal_bytes(gateway) > 0
        database.unlink()
        wait_until(lambda: gateway.ready()["status"] == "ready", 15)
        assert gateway.ready()["checks"]["loader"]["error"] is None
        gateway.wait_until_loaded()
        assert gateway.rows("SELECT ticker FROM gex_snapshots") == [("SPX",)]


def test_a_loader_that_dies_is_started_again(gateway: GatewayProcess) -> None:
    wait_until(gateway.loader_id, 10)
    loader = gateway.loader_id()
    assert loader is not None
    os.kill(loader, signal.SIGKILL)
    assert post(gateway, "/uw", ["after", {}]).status_code == 200
    wait_until(lambda: gateway.loader_id() not in {None, loader}, 10)
    assert gateway.ready()["checks"]["loader"]["restarts"] == 1
    gateway.wait_until_loaded()
    assert gateway.rows("SELECT count(*) FROM universal_webhooks WHERE topic = 'after'") == [(1,)]


def test_a_gateway_that_is_stopped_loads_what_it_took_and_leaves_no_process(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path / "data", GEX_ALLOW_UNAUTHENTICATED="1", HOST="0.0.0.0")  # noqa: S104
    gateway.start()
    wait_until(lambda: gateway.ready()["status"] == "ready", 10)
    loader = gateway.loader_id()
    for number in range(50):
        post(gateway, "/uw", ["last", {"number": number}])
    assert gateway.stop() == 0
    assert loader is not None
    assert not is_running(loader)
    assert "Traceback" not in gateway.log
    assert gateway.rows("SELECT count(DISTINCT payload) FROM universal_webhooks") == [(50,)]


def test_the_loader_of_a_killed_gateway_ends_by_itself(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path / "data")
    gateway.start()
    wait_until(lambda: gateway.ready()["status"] == "ready", 10)
    loader = gateway.loader_id()
    assert loader is not None
    gateway.kill()
    wait_until(lambda: not is_running(loader), 10)


def test_the_gateway_is_imported_without_database_or_dagster() -> None:
    check = "import sys, webhook_gateway.__main__; sys.exit(str({'duckdb', 'dagster', 'polars'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=30, check=False)
    assert ended.stderr == "set()\n"


def refused_start(tmp_path: Path, *flags: str, **environment: str) -> str:
    """Start a gateway that must refuse, and return its one line on standard error."""
    ended = subprocess.run(
        gateway_command(*flags),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=tmp_path,
        env=clean_environment(**environment),
    )
    assert ended.returncode not in {0, -signal.SIGKILL}
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("webhook_gateway: ")
    return ended.stderr


@pytest.mark.parametrize(
    ("flags", "environment", "told"),
    [
        (["--port", "65536"], {}, "GEX_PORT=65536"),
        (["--timeout-keep-alive", "0"], {}, "GEX_TIMEOUT_KEEP_ALIVE=0"),
        ([], {"LOG_LEVEL": "loud"}, "GEX_LOG_LEVEL=loud"),
        ([], {"GEX_HISTORY_HOSTS": "https://hist.gex.bot"}, "GEX_HISTORY_HOSTS"),
        ([], {"GEX_FEEDS": "SPX"}, "GEX_FEEDS=SPX: feed: got SPX, expected TICKER:endpoint"),
        (["--host", "0.0.0.0"], {}, "GEX_HOST=0.0.0.0 is reachable from other machines: set GEX_API_KEY"),  # noqa: S104
        (["--host", "0.0.0.0"], {"GEX_API_KEY": ""}, "set GEX_API_KEY"),  # noqa: S104
        (["--ssl-certfile", "cert.pem"], {}, "GEX_SSL_CERTFILE and GEX_SSL_KEYFILE belong together"),
        (["--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem"], {}, "GEX_SSL_CERTFILE=cert.pem is not a file"),
        (["--host", "192.0.2.1"], {"GEX_API_KEY": KEY}, "cannot listen on 192.0.2.1:"),
    ],
)
def test_a_setting_that_cannot_be_used_stops_the_start_with_one_line(
    tmp_path: Path, flags: list[str], environment: dict[str, str], told: str
) -> None:
    line = refused_start(tmp_path, *flags, **environment)
    assert told in line
    assert KEY not in line


def test_a_folder_that_cannot_be_written_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    line = refused_start(tmp_path, "--port", str(free_port()), "--data-dir", "file/data")
    assert "the folder file/data/journal cannot be written: Not a directory" in line


def test_a_port_in_use_stops_the_start_with_one_line(gateway: GatewayProcess, tmp_path: Path) -> None:
    assert "Address already in use" in refused_start(tmp_path, GEX_PORT=str(gateway.port))


def test_a_flag_wins_over_its_variable_and_the_new_variable_over_the_old(tmp_path: Path) -> None:
    assert "GEX_PORT=-1" in refused_start(tmp_path, "--port=-1", GEX_PORT="-2", PORT="-3")
    assert "GEX_PORT=-2" in refused_start(tmp_path, GEX_PORT="-2", PORT="-3")
    assert "GEX_PORT=-3" in refused_start(tmp_path, PORT="-3")


def test_a_log_folder_that_cannot_be_written_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    refused_start(tmp_path, "--port", str(free_port()), "--log-dir", "file/logs")


def test_a_certificate_that_cannot_be_read_stops_the_start_with_one_line(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes(b"")
    refused_start(tmp_path, "--port", str(free_port()), "--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem")


def test_a_port_that_is_no_number_stops_the_start_with_one_line(tmp_path: Path) -> None:
    refused_start(tmp_path, "--port", "eighty")
