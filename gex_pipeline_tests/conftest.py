"""Fixtures of many tests, and how the test processes end."""

from __future__ import annotations  # evaluated, they would keep DuckDB types alive

import atexit
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from shutil import which

import duckdb
import pytest

from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import ensure_schema
from gex_pipeline_tests.gateway_requests import KEY
from gex_pipeline_tests.inboxes import Inbox, open_inbox
from gex_pipeline_tests.page.browser import chromium
from gex_pipeline_tests.postgres import postgres_programs
from gex_pipeline_tests.processes import GatewayProcess, running_gateway
from gex_pipeline_tests.small_disk import own_mounts

# Some images tell Python to keep nothing of what it compiles: each process that a test starts would do it all again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

if "PYTEST_XDIST_WORKER" in os.environ:
    # DuckDB's binding prints a report of leaks when an interpreter is torn down while its types are still
    # referenced, as pytest's own records do. A worker has reported its results by then and just ends.
    atexit.register(os._exit, 0)


NEED_A_DISK_OF_THEIR_OWN = (
    "test_capture_full_disk.py",
    "test_full_disk.py",
    "test_read_only.py",
    "test_told_full_disk.py",
)
# What a machine may lack: how to tell, how to say it, and the files and folders of tests that need it.
NEEDS: tuple[tuple[Callable[[], object], str, tuple[str, ...]], ...] = (
    (own_mounts, "this system lets no process mount a disk", NEED_A_DISK_OF_THEIR_OWN),
    (chromium, "there is no Chromium", ("page",)),
    (postgres_programs, "there is no PostgreSQL server", ("test_postgres_storage.py",)),
    (partial(which, "promtool"), "there is no promtool", ("test_prometheus_rules.py",)),
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need what is not there."""
    missing = {name for has, _, names in NEEDS for name in names if not has()}
    left_out = [item for item in items if missing & {item.path.name, item.path.parent.name}]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out."""
    for has, why, names in NEEDS:
        if not has():
            terminalreporter.write_line(f"left out, because {why}: {', '.join(names)}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gex_data.db"


@pytest.fixture
def database(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with lease(path, purpose="test") as connection:
        ensure_schema(connection)
        yield connection


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with open_inbox() as opened:
        yield opened


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway as most people run it, with two more history hosts."""
    hosts = "hist.gex.bot,files.example:8443,127.0.0.1:9911"
    with running_gateway(tmp_path_factory.mktemp("open") / "data", GEX_HISTORY_HOSTS=hosts) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that other machines can reach and that asks for a key."""
    data_dir = tmp_path_factory.mktemp("guarded") / "data"
    with running_gateway(data_dir, "--host", "0.0.0.0", GEX_API_KEY=KEY) as gateway:  # noqa: S104
        yield gateway
