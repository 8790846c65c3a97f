"""Ending without cutting anybody off: whoever is connected gets his answer, and is told that it is the last."""

import asyncio
import socket
from collections.abc import Callable

import uvicorn

DRAIN_SECONDS = 1.0
LOOK_SECONDS = 0.02


class DrainingServer(uvicorn.Server):
    """A server that ends connections with an answer: closing one under a request on its way would reset it."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None] | None = None) -> None:
        """Take what lets the answers end that would go on for ever."""
        super().__init__(config)
        self._end_streams = end_streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, let those that are open have a last answer, then close what is idle."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        if self._end_streams is not None:
            self._end_streams()
        # One that was accepted a moment ago is counted by the time of the first look.
        for _ in range(round(DRAIN_SECONDS / LOOK_SECONDS)):
            await asyncio.sleep(LOOK_SECONDS)
            if not state.connections:
                break
        await super().shutdown(sockets)
