"""How far the demo is: a spinner for each part on a terminal, elsewhere a line, and addresses once they answer."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import requests
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

POLL_SECONDS = 0.25


class DemoError(Exception):
    """Something did not happen in time; the text says what."""


@dataclass(frozen=True)
class Address:
    """An address to look at, and the one that answers as soon as that can be done."""

    name: str
    url: str
    ready_url: str

    @property
    def line(self) -> str:
        """Both in a line."""
        return f"{self.name:<17}{self.url}"


class Parts:
    """The parts of the demo, shown while they last.

    Attributes:
        seconds: how long each took, by its name.
    """

    def __init__(self, console: Console) -> None:
        """Show them there, from entering the `with` block to leaving it."""
        columns = (SpinnerColumn(finished_text="*"), TextColumn("{task.description}"), TimeElapsedColumn())
        self.seconds: dict[str, float] = {}
        # Rich shows nothing in a pipe before all parts have ended.
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)

    def __enter__(self) -> Self:
        """Begin to show."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.stop()

    def stop(self) -> None:
        """Leave what is shown as it is."""
        self._progress.stop()

    @contextmanager
    def part(self, name: str) -> Iterator[Callable[[str], None]]:
        """Show and time one part; what it yields adds a word about how far it is."""
        started = time.monotonic()
        task = self._progress.add_task(name, total=1)
        if self._progress.disable:
            self._progress.console.print(f"{name} ...")
        yield lambda word: self._progress.update(task, description=f"{name}: {word}")
        self.seconds[name] = time.monotonic() - started
        self._progress.update(task, completed=1)


def tell_when_up(console: Console, address: Address, seconds: float) -> None:
    """Print an address as soon as it answers.

    Raises:
        DemoError: it does not in time.
    """
    wait_for(lambda: _answers(address.ready_url), seconds, f"{address.name} to start")
    console.print(address.line)


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once a condition holds.

    Raises:
        DemoError: it does not within so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DemoError(f"waited {seconds:g} s for {what}")
        time.sleep(POLL_SECONDS)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False
