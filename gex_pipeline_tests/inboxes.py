"""Notification hosts on loopback, as Apprise's `json://` knows them."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "token-of-this-test"  # noqa: S105 - what must not show anywhere


class Inbox:
    """A host that takes messages; `titles` in the order they came."""

    def __init__(self, port: int) -> None:
        self.address = f"json://user:{TOKEN}@127.0.0.1:{port}/{TOKEN}"
        self.received: list[dict[str, str]] = []

    @property
    def titles(self) -> list[str]:
        """The titles so far."""
        return [message["title"] for message in list(self.received)]

    def text_of(self, title: str) -> str:
        """The text of the one message with this title."""
        [text] = [message["message"] for message in list(self.received) if message["title"] == title]
        return text


@contextmanager
def open_inbox() -> Iterator[Inbox]:
    """Run a host that takes every message."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            inbox.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        inbox = Inbox(server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield inbox
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def hanging_inbox() -> Iterator[str]:
    """Give the address of a host that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"json://127.0.0.1:{server.getsockname()[1]}/{TOKEN}"
