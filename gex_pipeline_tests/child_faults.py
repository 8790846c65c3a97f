"""Faults of child processes that nobody can cause from outside: Python runs such a file before the program."""

from pathlib import Path

from gex_pipeline_tests.processes import clean_environment

# The loader's process is ended by the system when it sees the word, as by a fault in a library.
ABORT_ON_POISON = """
import os, resource, sys
if "gex_pipeline.loader" in sys.orig_argv:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from gex_pipeline.loader import batch
    parse = batch.parse_snapshot
    batch.parse_snapshot = lambda body: os.abort() if b"poison" in body else parse(body)
"""
# The loader may have no more memory than it needs for ordinary records.
LITTLE_MEMORY = """
import resource, sys
if "gex_pipeline.loader" in sys.orig_argv:
    from gex_pipeline.loader import batch
    parse = batch.parse_snapshot
    def parse_hungrily(body):
        if b"poison" in body:
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
            bytearray(1 << 31)
        return parse(body)
    batch.parse_snapshot = parse_hungrily
"""
# The gateway's disk loses what is synced for as long as a file says so.
FSYNC_FAILS = """
import errno, os, sys
from pathlib import Path
if "webhook_gateway" in sys.orig_argv:
    sync = os.fdatasync
    def fail(file):
        if Path("fsync fails").exists():
            raise OSError(errno.EIO, "Input/output error")
        sync(file)
    os.fdatasync = fail
"""
# The wall clock is off by as many seconds as a file says.
CLOCK_IS_OFF = """
import time
from pathlib import Path
wall, wall_ns = time.time, time.time_ns
def off():
    try:
        return int(Path("clock is off").read_text())
    except (OSError, ValueError):
        return 0
time.time = lambda: wall() + off()
time.time_ns = lambda: wall_ns() + off() * 10**9
"""


def environment_with(fault: str, folder: Path) -> dict[str, str]:
    """Return an environment in which every Python process has a fault; the file goes into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(fault)
    return clean_environment(PYTHONPATH=str(folder))
