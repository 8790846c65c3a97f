"""A disk of a few megabytes that only one process sees, and that process, which does in it what tests ask for.

It is a tmpfs in a mount namespace of its own: of a user namespace where the system allows that, else of root's.
"""

import functools
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from gex_pipeline_tests.processes import clean_environment

P = ParamSpec("P")
R = TypeVar("R")

_MOUNT = "mount"
_NAMESPACES = (["unshare", "--map-root-user", "--mount"], ["unshare", "--mount"])
_BALLAST = "ballast"


@functools.cache
def own_mounts() -> list[str] | None:
    """Return the command that starts a process which may mount for itself, None where there is none."""
    for command in _NAMESPACES:
        with suppress(OSError):
            probe = [*command, _MOUNT, "-t", "tmpfs", "none", "/mnt"]
            if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                return command
    return None


class SmallDisk:
    """The disk, seen from outside: its folder is empty here."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self._process = process

    def run(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Call a function of a module in the process that sees the disk; what it raises is raised here."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((function, arguments, named), self._process.stdin)
        self._process.stdin.flush()
        error, result = pickle.load(self._process.stdout)  # noqa: S301 - our own process
        if error is not None:
            raise error
        found: R = result
        return found


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """Mount a disk of this size at a folder for the length of a block."""
    folder.mkdir(parents=True)
    command = [
        *(own_mounts() or []),
        sys.executable,
        "-m",
        "gex_pipeline_tests.small_disk",
        str(folder),
        str(size_bytes),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environment()) as process:
        try:
            yield SmallDisk(folder, process)
        finally:
            process.kill()


def fill(folder: Path, leave_bytes: int) -> None:
    """Leave so many bytes free on the disk of a folder."""
    free(folder)
    taken = shutil.disk_usage(folder).free - leave_bytes
    with (folder / _BALLAST).open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, taken)


def free(folder: Path) -> None:
    """Take back what `fill` took."""
    (folder / _BALLAST).unlink(missing_ok=True)


def remount(folder: Path, mode: str) -> None:
    """Make the disk of a folder `ro` or `rw`."""
    subprocess.run([_MOUNT, "-o", f"remount,{mode}", folder], check=True)


def _serve(folder: str, size_bytes: str) -> None:
    subprocess.run([_MOUNT, "-t", "tmpfs", "-o", f"size={size_bytes}", "none", folder], check=True)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            function, arguments, named = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent
        except EOFError:
            return
        answer: tuple[BaseException | None, Any] = None, None
        try:
            answer = None, function(*arguments, **named)
        except Exception as error:  # noqa: BLE001 - it is raised in the parent
            answer = error, None
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
