"""Fixtures of many tests, and how the test processes end."""

from __future__ import annotations  # evaluated, they would keep DuckDB types alive

import atexit
import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import ensure_schema

if "PYTEST_XDIST_WORKER" in os.environ:
    # DuckDB's binding prints a report of leaks when an interpreter is torn down while its types are still
    # referenced, as pytest's own records do. A worker has reported its results by then and just ends.
    atexit.register(os._exit, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gex_data.db"


@pytest.fixture
def database(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with lease(path, purpose="test") as connection:
        ensure_schema(connection)
        yield connection
