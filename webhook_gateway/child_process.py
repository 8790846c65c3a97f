"""A child of the gateway, such as the loader: started, watched, started again when it dies, stopped with it."""

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress

from gex_pipeline.settings import Settings, environment_for_children

FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0
HEALTHY_AFTER_SECONDS = 10.0
STOP_SECONDS = 20.0

logger = logging.getLogger(__name__)


class ChildProcess:
    """Keeps one `python -m gex_pipeline.<name>` running.

    Attributes:
        restarts: how often it ended by itself and was started again.
        last_end: how it ended the last time, None before that.
    """

    def __init__(self, settings: Settings, name: str, *flags: str) -> None:
        """Remember what is to be run; nothing is started yet."""
        self._settings = settings
        self._name = name
        self._flags = flags
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.restarts = 0
        self.last_end: str | None = None

    @property
    def process_id(self) -> int | None:
        """The running child's process id, None while there is none."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def start(self) -> None:
        """Start the child and begin to watch it."""
        self._keeper = asyncio.create_task(self._keep_running())

    async def stop(self) -> None:
        """Let the child finish what it has begun, at most STOP_SECONDS, and see it gone."""
        if self._keeper is None:
            return
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            logger.warning(
                "the %s did not stop within %g s: killing it; the journal keeps the rest", self._name, STOP_SECONDS
            )
            process.kill()
            await process.wait()

    async def _keep_running(self) -> None:
        pause = FIRST_RESTART_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                self._process = await self._spawn()
                ended = f"the {self._name} {_how_it_ended(await self._process.wait())}"
            except OSError as error:  # no memory or no processes left
                ended = f"the {self._name} could not be started: {error}"
            if loop.time() - started > HEALTHY_AFTER_SECONDS:
                pause = FIRST_RESTART_SECONDS
            self.restarts += 1
            self.last_end = f"{ended}; starting it again in {pause:g} s"
            logger.warning("%s", self.last_end)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_RESTART_SECONDS)

    async def _spawn(self) -> asyncio.subprocess.Process:
        """Start the child. It holds our pipe's end, so it also learns of our death when we are killed.

        It has a session of its own: Ctrl-C in the terminal reaches the gateway, which then stops it in order.
        """
        environment = {**environment_for_children(self._settings), "GEX_LOG_LEVEL": self._settings.log_level}
        if self._settings.log_dir is not None:
            environment["GEX_LOG_DIR"] = os.fspath(self._settings.log_dir.absolute())
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"gex_pipeline.{self._name}",
            "--exit-with-stdin",
            *self._flags,
            stdin=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )


def _how_it_ended(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
