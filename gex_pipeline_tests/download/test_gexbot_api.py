"""GexBot's API: asked for the URL of a day, once per second, with a key that is not shown."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.errors import DownloadInterruptedError, SourceUnavailableError
from gex_pipeline.history import download as downloads
from gex_pipeline.history.download import ask_api, download
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.download.partition_files import BODY, NAME, PARTITION, shown


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "API_PAUSE_SECONDS", 0.0)


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_the_api_gives_a_url_that_downloads(host: GexBotStandIn, settings: Settings, scheme: str) -> None:
    chosen = settings.model_copy(update={"gexbot_auth_scheme": scheme})
    url = ask_api(chosen, PARTITION)
    assert host.requests[0].path == "/v2/hist/NQ_NDX/classic/gex_zero/2025-11-14"
    assert download(settings, PARTITION, url, lambda *_: None).path.read_bytes() == BODY


@pytest.mark.usefixtures("no_pause")
def test_the_api_is_not_asked_without_a_key(host: GexBotStandIn, tmp_path: Path) -> None:
    keyless = load_settings(data_dir=tmp_path / "data", gexbot_api_url=f"{host.base_url}/v2")
    with pytest.raises(SourceUnavailableError, match="GEXBOT_API_KEY"):
        ask_api(keyless, PARTITION)
    assert host.requests == []


@pytest.mark.usefixtures("no_pause")
def test_a_key_that_the_api_refuses_is_a_permanent_failure_that_does_not_show_it(
    host: GexBotStandIn, tmp_path: Path
) -> None:
    wrong = load_settings(
        data_dir=tmp_path / "data", gexbot_api_url=f"{host.base_url}/v2", gexbot_api_key="SECRET-KEY"
    )
    with pytest.raises(SourceUnavailableError, match="401") as refused:
        ask_api(wrong, PARTITION)
    assert "SECRET-KEY" not in shown(refused.value)


@pytest.mark.usefixtures("no_pause")
def test_a_refusal_that_may_be_a_throttle_is_worth_another_attempt(host: GexBotStandIn, settings: Settings) -> None:
    host.not_entitled.add("NQ_NDX")
    with pytest.raises(DownloadInterruptedError, match="403"):
        ask_api(settings, PARTITION)
    host.not_entitled.clear()
    assert ask_api(settings, PARTITION).startswith(host.base_url)


@pytest.mark.usefixtures("no_pause")
def test_a_day_that_the_api_does_not_have_is_a_permanent_failure(host: GexBotStandIn, settings: Settings) -> None:
    (host.directory / NAME).unlink()
    with pytest.raises(SourceUnavailableError, match="404"):
        ask_api(settings, PARTITION)


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("answer", [b"{}", b"[]", b"null", b"<html>", b""])
def test_an_api_answer_without_a_url_is_worth_another_attempt(settings: Settings, answer: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(answer)
    with answering_once(head + answer) as port:
        odd = settings.model_copy(update={"gexbot_api_url": f"http://127.0.0.1:{port}/v2"})
        with pytest.raises(DownloadInterruptedError):
            ask_api(odd, PARTITION)


class answering_once:  # noqa: N801 - reads as a block
    """A server that gives one connection the same bytes whatever it asks; the block gets its port."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(self._answer)

    def __enter__(self) -> int:
        self._thread.start()
        port: int = self._listener.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._listener.close()


def test_the_api_is_asked_once_per_second_by_all_together(files: Path, settings: Settings) -> None:
    with GexBotStandIn(files, rate_limit=True) as throttled:
        asking = settings.model_copy(update={"gexbot_api_url": f"{throttled.base_url}/v2"})
        started = time.monotonic()
        with ThreadPoolExecutor(2) as threads:
            urls = list(threads.map(lambda _: ask_api(asking, PARTITION), range(2)))
        assert time.monotonic() - started >= 1
        assert [request.status for request in throttled.requests] == [200, 200]
        assert all(url.startswith(throttled.base_url) for url in urls)
