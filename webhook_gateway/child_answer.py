"""What a short-lived child process of the gateway prints: work, or libraries, that captures shall not feel."""

import asyncio
import sys
from contextlib import suppress

from gex_pipeline.settings import Settings, environment_for_children


async def answer_of(settings: Settings, module: str) -> bytes:
    """Return what `python -m gex_pipeline.<module>` prints; whoever stops waiting ends it.

    It has a session of its own, so that Ctrl-C is left to the gateway.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"gex_pipeline.{module}",
        stdout=asyncio.subprocess.PIPE,
        env=environment_for_children(settings),
        start_new_session=True,
    )
    try:
        answer, _ = await child.communicate()
        return answer
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def end(look: asyncio.Task[None] | None) -> None:
    """Give up waiting for a child, which ends it, if somebody waits."""
    if look is not None:
        look.cancel()
        with suppress(asyncio.CancelledError):
            await look
