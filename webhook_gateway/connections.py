"""The server's connections: each in a bounded time, with a bounded head, and never so many that files run out."""

import asyncio
import resource
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gex_pipeline.errors import FieldProblem
from gex_pipeline.settings import Settings
from webhook_gateway.bodies import MAX_BODY_BYTES, describe

MAX_HEAD_BYTES = 64 * 1024
MAX_REQUEST_BYTES = 2 * MAX_BODY_BYTES  # as it comes over the wire, chunk sizes and all
MAX_WAITING_REQUESTS = 1000  # of one connection, sent before the answers to those before them
MAX_FILES = 65_536
SPARE_FILES = 64  # for the journal, the loader's pipes, logs and the database
_REASONS = {408: "Request Timeout", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}


class LimitedProtocol(HttpToolsProtocol):
    """HTTP with limits, which the server has none of but for idle connections.

    A clock runs whenever the client is expected to send, or to take what it was sent.
    """

    max_connections: int
    timeout_seconds: int

    _clock: asyncio.TimerHandle | None = None
    _is_receiving = False
    _is_in_head = False
    _received_bytes = 0
    _unsent_bytes = 0

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as the base class has it
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(503, "too many connections", f"at most {self.max_connections}")
        else:
            self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)  # but for the piece that a request begins in, it may hold others too
        super().data_received(data)
        if self._is_receiving:
            if self._is_in_head and self._received_bytes > MAX_HEAD_BYTES:
                self._refuse(431, "a longer head", f"at most {MAX_HEAD_BYTES} bytes of request line and headers")
            elif self._received_bytes > MAX_REQUEST_BYTES:
                self.transport.abort()  # it was answered 413 already, or sends more framing than body
        if len(self.pipeline) > MAX_WAITING_REQUESTS:
            self.transport.abort()
        if self._clock is None and self._is_clients_turn():
            self._start_clock()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_receiving = self._is_in_head = True
        self._received_bytes = 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_receiving = False
        self._stop_clock()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._stop_clock()
        self._start_clock()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._is_receiving:
            self._stop_clock()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _is_clients_turn(self) -> bool:
        return self._is_receiving or self.cycle is None or self.cycle.response_complete

    def _start_clock(self) -> None:
        self._clock = self.loop.call_later(self.timeout_seconds, self._time_is_up)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _time_is_up(self) -> None:
        self._clock = None
        unsent = self.transport.get_write_buffer_size()
        is_under_way = self.cycle is not None and not self.cycle.response_complete
        if unsent:
            if unsent >= self._unsent_bytes > 0:
                self.transport.abort()
            else:
                self._unsent_bytes = unsent
                self._start_clock()
        elif is_under_way and not self.cycle.more_body:
            self._start_clock()  # the answer takes its time, and the next request is there in part
        elif self._is_in_head or (self._is_receiving and not self.cycle.response_started):
            self._refuse(408, "a request that does not end", f"all of it within {self.timeout_seconds} seconds")
        else:
            self._close()

    def _refuse(self, status: int, value: str, expected: str) -> None:
        """Answer without the application and close."""
        detail = msgspec.json.encode({"detail": describe([FieldProblem("", value, expected)])})
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: application/json\r\nconnection: close\r\n"
        retry = "retry-after: 5\r\n" if status == 503 else ""
        self.transport.write(f"{head}{retry}content-length: {len(detail)}\r\n\r\n".encode() + detail)
        self.transport.close()

    def _close(self) -> None:
        """Close; at once when the client does not even take what it was sent."""
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()


def connection_protocol(settings: Settings) -> type[LimitedProtocol]:
    """Return the protocol for the web server, and let this process open as many files as it may."""

    class Protocol(LimitedProtocol):
        max_connections = _max_connections()
        timeout_seconds = settings.timeout_request

    return Protocol


def _max_connections() -> int:
    """Let this process open as many files as it may; return how many connections leave some to spare."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(allowed - SPARE_FILES, 1)
