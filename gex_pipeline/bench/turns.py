"""Runs in processes of their own that take turns, so that a noisy moment of the machine hits every contender."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from gex_pipeline.errors import PermanentError
from gex_pipeline.settings import variable_names

Result = TypeVar("Result")
Tell = Callable[[str], None]

RUN_SECONDS = 900.0


class BenchmarkError(PermanentError):
    """A run did not end as it should, so there is nothing to compare; the text has what it said."""


def take_turns(contenders: Mapping[str, Callable[[int], Result]], repeat: int, tell: Tell) -> dict[str, list[Result]]:
    """Run A B C, B C A, C A B, ... and return the runs of each: nobody always comes after the same one.

    Args:
        contenders: what to run, by name; called with the number of the round, from 0.
        repeat: how many rounds.
        tell: told before each run which one it is.
    """
    runs: dict[str, list[Result]] = {name: [] for name in contenders}
    for turn in range(repeat):
        first = turn % len(contenders)
        for name, run in [*contenders.items()][first:] + [*contenders.items()][:first]:
            tell(f"{name}, {turn + 1} of {repeat}")
            os.sync()  # what one run left to be written must not slow down the next
            runs[name].append(run(turn))
    return runs


def in_fresh_process(module: str, *arguments: object, cwd: Path, result: type[Result]) -> Result:
    """Run a module of this package in a process of its own and return what its last line of output says.

    Raises:
        BenchmarkError: it failed, or said something else.
    """
    command = [sys.executable, "-m", f"gex_pipeline.bench.{module}", *map(str, arguments)]
    try:
        ended = subprocess.run(
            command, cwd=cwd, env=clean_environment(), capture_output=True, timeout=RUN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{module} did not end within {RUN_SECONDS:g} s") from error
    if ended.returncode:
        raise BenchmarkError(f"{module} failed: {ended.stderr.decode(errors='replace').strip()[-2000:]}")
    try:
        return msgspec.json.decode(ended.stdout.splitlines()[-1], type=result)
    except (IndexError, msgspec.DecodeError) as error:
        raise BenchmarkError(f"{module} did not say what it measured: {error}") from error


def say(result: object) -> None:
    """Write what was measured as the last line that `in_fresh_process` reads."""
    sys.stdout.write(f"\n{msgspec.json.encode(result).decode()}\n")


def clean_environment() -> dict[str, str]:
    """Return this environment without any setting, so that nothing real is touched, and without backups."""
    settings = {name for names in variable_names().values() for name in names}
    kept = {name: value for name, value in os.environ.items() if name not in settings}
    return {**kept, "GEX_BACKUP_MAX_AGE_HOURS": "0"}


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for a run, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="gex-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
