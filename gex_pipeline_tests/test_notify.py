"""Operators are told, over HTTP as Apprise sends it."""

import pytest

from gex_pipeline.notify import Message, notify
from gex_pipeline.settings import load_settings
from gex_pipeline_tests.inboxes import Inbox

# Apprise imports it the first time that it is asked for an address.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

MESSAGE = Message("Import failed", "because")


def test_a_message_reaches_the_address_it_was_meant_for(inbox: Inbox) -> None:
    assert notify(load_settings(notify_urls=inbox.address), MESSAGE) == []
    assert [(each["title"], each["message"]) for each in inbox.received] == [("Import failed", "because")]


def test_an_address_that_cannot_be_reached_is_logged_without_being_named(caplog: pytest.LogCaptureFixture) -> None:
    settings = load_settings(notify_urls="json://127.0.0.1:1/token-1234,nonsense://token-1234")
    assert notify(settings, MESSAGE) == [0, 1]
    said = [record.getMessage() for record in caplog.records]
    assert "address 1 of GEX_NOTIFY_URLS did not take the message: Import failed" in said
    assert "address 2 of GEX_NOTIFY_URLS is not one that Apprise knows" in said
    assert not any("token-1234" in message or "127.0.0.1" in message for message in said)


def test_without_addresses_there_is_nothing_to_send() -> None:
    assert notify(load_settings(), MESSAGE) == []
