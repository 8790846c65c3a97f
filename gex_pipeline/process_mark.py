"""The mark of a process, by which another one can tell later that it is gone."""

import os
import socket
import sys
from pathlib import Path


def process_mark() -> str:
    """Return the mark of this process: host, boot, process id and start, which no other process ever has together."""
    return f"{socket.gethostname()}:{_boot()}:{os.getpid()}:{_started(os.getpid())}"


def is_gone(mark: str) -> bool:
    """Tell whether a process has ended; of one on another host nothing is known, so it has not."""
    host, boot, process_id, started = mark.rsplit(":", 3)
    return host == socket.gethostname() and (boot != _boot() or _started(int(process_id)) != started)


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
