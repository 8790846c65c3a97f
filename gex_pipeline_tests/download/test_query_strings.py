"""No error and no log shows what stands in a query string."""

import logging
import socket
from typing import Any

import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.errors import GexError
from gex_pipeline.history import download as downloads
from gex_pipeline.history.download import download
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.download.partition_files import NAME, PARTITION, folder, shown
from gex_pipeline_tests.processes import free_port

FAILURES: dict[str, dict[str, Any]] = {
    "refused": {"status": 403},
    "gone": {"status": 404},
    "broken": {"status": 500},
    "cut off": {"cut_after": 1000},
    "cut off in a chunk": {"cut_after": 1000, "chunked": True},
    "elsewhere": {"redirect_to": "https://example.com/a?sig=SECRET"},
    "at a closed port": {"redirect_to": "http://127.0.0.1:{port}/a?sig=SECRET"},
}


@pytest.mark.parametrize("failure", [*FAILURES, "too large", "slow", "no such name"])
def test_no_error_and_no_log_shows_a_query_string(
    host: GexBotStandIn,
    settings: Settings,
    failure: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed = free_port()
    behaviour = dict(FAILURES.get(failure, {}))
    if "redirect_to" in behaviour:
        behaviour["redirect_to"] = behaviour["redirect_to"].format(port=closed)
    if failure == "too large":
        monkeypatch.setattr(downloads, "MAX_DOWNLOAD_BYTES", 10)
    if failure == "slow":
        monkeypatch.setattr(downloads, "READ_SECONDS", 0.1)
        behaviour["bytes_per_second"] = 4
    hosts = f"{host.host},127.0.0.1:{closed}"
    allowing = load_settings(data_dir=settings.data_dir, history_hosts=hosts)
    url = host.signed_url(NAME, **behaviour)
    if failure == "no such name":

        def refuse(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")

        monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with caplog.at_level(logging.INFO), pytest.raises(GexError) as raised:
        download(allowing, PARTITION, url, lambda *_: None)
    for text in (shown(raised.value), caplog.text, *(path.name for path in folder(settings).iterdir())):
        assert url.partition("?")[2] not in text
        assert "sig=" not in text
        assert "SECRET" not in text
