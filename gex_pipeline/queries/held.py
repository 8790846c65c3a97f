"""What readers were given lately, in memory as long as there is room for it."""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

import pyarrow as pa

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value", pa.ChunkedArray, pa.Table)


class Held(Generic[Key, Value]):
    """Values by their keys, those asked for longest ago giving way over so many bytes; for several threads."""

    def __init__(self, most_bytes: int) -> None:
        """Hold nothing yet."""
        self._most_bytes = most_bytes
        self._held: OrderedDict[Key, Value] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def find(self, keys: Iterable[Key]) -> dict[Key, Value]:
        """Return what is held of these."""
        found = {}
        with self._lock:
            for key in keys:
                if key in self._held:
                    self._held.move_to_end(key)
                    found[key] = self._held[key]
        return found

    def keep(self, values: dict[Key, Value]) -> None:
        """Hold these."""
        with self._lock:
            for key, value in values.items():
                if key not in self._held:
                    self._held[key] = value
                    self._bytes += value.nbytes
            while self._bytes > self._most_bytes:
                _, value = self._held.popitem(last=False)
                self._bytes -= value.nbytes
