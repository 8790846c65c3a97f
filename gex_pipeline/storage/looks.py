"""Looking into a database file through a DuckDB that stays in this process.

To start a DuckDB costs ten times what it costs to open a file with it, so who looks often keeps one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from pathlib import Path
from threading import Lock

import duckdb

from gex_pipeline.storage.lease import held_open, opening_errors, quoted, require_file

_starting = Lock()
_numbers = count()


@contextmanager
def look(database: Path, *, purpose: str, timeout_seconds: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Hold the database file alone to read it, as `lease` does with `read_only`, and with its errors."""
    with held_open(database, purpose, timeout_seconds, lambda: _Attached(database)) as attached:
        yield attached.cursor


class _Attached:
    """A database file that the process's DuckDB has open."""

    def __init__(self, database: Path) -> None:
        require_file(database)
        self._name = f"look_{next(_numbers)}"
        self.cursor = memory_cursor()
        try:
            with opening_errors(database):
                self.cursor.execute(f"ATTACH '{quoted(database)}' AS {self._name} (READ_ONLY)")
                self.cursor.execute(f"USE {self._name}")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        try:
            self.cursor.execute("USE memory")
            self.cursor.execute(f"DETACH DATABASE IF EXISTS {self._name}")
        except duckdb.Error:
            _memory.cache_clear()  # with its last cursor this DuckDB ends, and closes what it has open
        finally:
            self.cursor.close()


def memory_cursor() -> duckdb.DuckDBPyConnection:
    """Return a connection without a database file, to query Parquet; close it afterwards."""
    with _starting:
        return _memory().cursor()


@lru_cache(maxsize=1)
def _memory() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    # A second thread is no faster for files of a day, and captures want the other processor.
    connection.execute("SET enable_progress_bar_print = false; SET threads = 1")
    return connection
