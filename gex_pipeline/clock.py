"""The time, in the one form the system stores it."""

import time


def epoch_ms() -> int:
    """Return now as epoch milliseconds, UTC."""
    return time.time_ns() // 1_000_000
