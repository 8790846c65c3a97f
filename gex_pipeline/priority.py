"""Who goes first on a busy machine: captures and readers before imports, which can wait."""

import os

_NICENESS = 10


def give_way() -> None:
    """Let this process, and those that it starts, use what others leave of the processors."""
    os.nice(_NICENESS)
