"""Operators are told, over HTTP as Apprise sends it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from gex_pipeline.notify import notify
from gex_pipeline.settings import load_settings

# Apprise imports it the first time that it is asked for an address.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

Received = list[dict[str, Any]]


@pytest.fixture
def inbox() -> Iterator[tuple[str, Received]]:
    """A server that takes Apprise's JSON notifications; its address and what it got."""
    received: Received = []

    class Inbox(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Inbox) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"json://127.0.0.1:{server.server_port}/token-1234", received
        server.shutdown()
        thread.join()


def test_a_message_reaches_the_address_it_was_meant_for(inbox: tuple[str, Received]) -> None:
    address, received = inbox
    assert notify(load_settings(notify_urls=address), "Import failed", "because")
    assert [(each["title"], each["message"]) for each in received] == [("Import failed", "because")]


def test_an_address_that_cannot_be_reached_is_logged_without_being_named(caplog: pytest.LogCaptureFixture) -> None:
    settings = load_settings(notify_urls="json://127.0.0.1:1/token-1234,nonsense://token-1234")
    assert not notify(settings, "Import failed", "because")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("gex_pipeline")]
    assert ours
    assert not any("token-1234" in message for message in ours)


def test_without_addresses_there_is_nothing_to_send() -> None:
    assert notify(load_settings(), "Import failed", "because")
