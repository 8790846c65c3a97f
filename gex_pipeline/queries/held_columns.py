"""Columns of published files in memory: a day is one row group, of which no part can be read alone."""

import threading
from collections import OrderedDict
from collections.abc import Iterable

import pyarrow as pa

from gex_pipeline.storage.files import Version

HELD_BYTES = 32 * 1024**2


class HeldColumns:
    """The columns that were asked for lately, those asked for longest ago giving way over HELD_BYTES."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._held: OrderedDict[tuple[Version, str], pa.ChunkedArray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def find(self, version: Version, names: Iterable[str]) -> dict[str, pa.ChunkedArray]:
        """Return those columns of a file that are held."""
        found = {}
        with self._lock:
            for name in names:
                if (version, name) in self._held:
                    self._held.move_to_end((version, name))
                    found[name] = self._held[version, name]
        return found

    def keep(self, version: Version, columns: dict[str, pa.ChunkedArray]) -> None:
        """Hold columns of a file."""
        with self._lock:
            for name, column in columns.items():
                if (version, name) not in self._held:
                    self._held[version, name] = column
                    self._bytes += column.nbytes
            while self._bytes > HELD_BYTES:
                _, column = self._held.popitem(last=False)
                self._bytes -= column.nbytes
