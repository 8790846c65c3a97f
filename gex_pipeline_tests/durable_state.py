"""Everything durable in a data folder, in a form in which two folders are compared."""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import ensure_schema

_TIMED = re.compile(r"\d{8}T\d{6,}Z(-\d+)?")
_EITHER_WAY = {".lock", ".holder"}


@dataclass(frozen=True)
class Rows:
    """What the database holds: the rows of both tables as they are, and the lineage without its times."""

    stored: list[list[tuple[Any, ...]]]
    lineage: list[tuple[Any, ...]]


@dataclass(frozen=True)
class State:
    """Everything durable: rows, and files with a digest of their content; times in names are left out."""

    rows: Rows
    files: dict[str, set[str]]


def rows_of(settings: Settings) -> Rows:
    """Read the tables that an import changes."""
    with lease(settings.database_path, purpose="look", timeout_seconds=10) as connection:
        ensure_schema(connection)
        stored = [
            connection.execute(f"FROM {table} ORDER BY ALL").fetchall() for table in ("gex_snapshots", "gex_strikes")
        ]
        lineage = connection.execute(
            "SELECT import_id, status, sha256, records_imported, strikes_imported, records_present, "
            "records_differing, records_replaced FROM data_lineage ORDER BY import_id"
        ).fetchall()
    return Rows(stored, lineage)


def files_of(settings: Settings) -> dict[str, set[str]]:
    """Return each file's content by its name; the database is compared by its rows, a backup by its manifest."""
    files: dict[str, set[str]] = {}
    for path in sorted(settings.data_dir.rglob("*")):
        name = _TIMED.sub("TIME", str(path.relative_to(settings.data_dir)))
        if path.is_file() and path.suffix not in _EITHER_WAY and not _is_empty_log(path):
            files.setdefault(name, set()).add(_content(path) if "database" not in name else "a backup")
    files.pop("gex_data.db", None)
    return files


def state_of(settings: Settings) -> State:
    """Look at everything there is."""
    return State(rows_of(settings), files_of(settings))


def _is_empty_log(path: Path) -> bool:
    return path.suffix == ".wal" and path.stat().st_size == 0


def _content(path: Path) -> str:
    content = path.read_bytes()
    return _rows_digest(content) if path.suffix == ".parquet" else hashlib.sha256(content).hexdigest()


@lru_cache(maxsize=128)  # the same bytes are looked at over and over
def _rows_digest(parquet: bytes) -> str:
    return hashlib.sha256(repr(pq.read_table(pa.BufferReader(parquet)).to_pydict()).encode()).hexdigest()
