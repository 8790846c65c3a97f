"""The mark of a process, by which another one can tell later that it is gone."""

import os
import signal
import socket
import sys
from pathlib import Path


def process_mark(process_id: int | None = None) -> str:
    """Return the mark of a process, this one by default: host, boot, process id and start.

    No other process ever has all four.
    """
    process_id = process_id or os.getpid()
    return f"{socket.gethostname()}:{_boot()}:{process_id}:{_started(process_id)}"


def is_gone(mark: str) -> bool:
    """Tell whether a process has ended; of one on another host nothing is known, so it has not."""
    host, boot, process_id, started = mark.rsplit(":", 3)
    return host == socket.gethostname() and (boot != _boot() or _started(int(process_id)) != started)


def is_there(mark: str) -> bool:
    """Tell whether a process is at work on this host."""
    return mark.rsplit(":", 3)[0] == socket.gethostname() and not is_gone(mark)


def interrupt(mark: str) -> bool:
    """Send a process SIGINT; return False when it is not there."""
    if not is_there(mark):
        return False
    os.kill(int(mark.rsplit(":", 3)[2]), signal.SIGINT)
    return True


def _boot() -> str:
    """Return the machine's present boot, empty where it has no name."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip() if sys.platform == "linux" else ""


def _started(process_id: int) -> str | None:
    """Return when a process was started, empty where that cannot be told, None when it is gone."""
    try:
        if sys.platform != "linux":
            os.kill(process_id, 0)
            return ""
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[19] if fields[0] != "Z" else None
