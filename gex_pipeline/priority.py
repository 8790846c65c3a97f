"""Who goes first on a busy machine: captures and readers, then loading, then imports, which can wait."""

import os

LOADING, IMPORTING = 5, 10


def give_way(niceness: int) -> None:
    """Let this process, and those that it starts, use what others leave of the processors."""
    os.nice(niceness)
