"""How long this process waited for the database; apart from the leases, because the gateway imports no DuckDB."""

import threading

import msgspec


class LeaseWaits(msgspec.Struct):
    """Leases since the start of a process.

    Attributes:
        leases: that were taken.
        seconds: from asking until the file was open, or until giving up.
        timeouts: that were given up.
    """

    leases: int = 0
    seconds: float = 0.0
    timeouts: int = 0


WAITS = LeaseWaits()
_lock = threading.Lock()


def note_wait(seconds: float, *, timed_out: bool = False) -> None:
    """Count one wait; for any thread."""
    with _lock:
        WAITS.leases += not timed_out
        WAITS.timeouts += timed_out
        WAITS.seconds += seconds
