"""A wall clock that starts at another moment and runs faster, for a process of Python and all that it starts."""

import datetime as dt
import time
from pathlib import Path

# Python imports a module of this name, where it finds one, before anything else.
_SITECUSTOMIZE = """import time
real, began_ns, shown_ns, speed = time.time_ns, {began_ns}, {shown_ns}, {speed}
time.time_ns = lambda: shown_ns + (real() - began_ns) * speed
"""


def faster_clock(folder: Path, starts: dt.datetime, speed: int) -> dict[str, str]:
    """Return the environment in which it is `starts` now and every second lasts a `speed`th of one."""
    folder.mkdir()
    shown_ns = int(starts.timestamp()) * 1_000_000_000
    text = _SITECUSTOMIZE.format(began_ns=time.time_ns(), shown_ns=shown_ns, speed=speed)
    (folder / "sitecustomize.py").write_text(text)
    return {"PYTHONPATH": str(folder)}
