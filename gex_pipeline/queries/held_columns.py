"""Columns of published files in memory, row group by row group: of a group no part of a column can be read alone."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa

from gex_pipeline.storage.files import Version

HELD_BYTES = 32 * 1024**2


class Group(NamedTuple):
    """A row group of a file."""

    version: Version
    number: int


class HeldColumns:
    """The columns that were asked for lately, those asked for longest ago giving way over HELD_BYTES."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._held: OrderedDict[tuple[Group, str], pa.ChunkedArray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def find(self, group: Group, names: Iterable[str]) -> dict[str, pa.ChunkedArray]:
        """Return those columns of a row group that are held."""
        found = {}
        with self._lock:
            for name in names:
                if (group, name) in self._held:
                    self._held.move_to_end((group, name))
                    found[name] = self._held[group, name]
        return found

    def keep(self, group: Group, columns: dict[str, pa.ChunkedArray]) -> None:
        """Hold columns of a row group."""
        with self._lock:
            for name, column in columns.items():
                if (group, name) not in self._held:
                    self._held[group, name] = column
                    self._bytes += column.nbytes
            while self._bytes > HELD_BYTES:
                _, column = self._held.popitem(last=False)
                self._bytes -= column.nbytes
