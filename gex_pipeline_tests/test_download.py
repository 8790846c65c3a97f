"""Downloads over real HTTP: whole or not at all, resumed, bounded, from allowed hosts only, silent about secrets."""

import datetime as dt
import gzip
import hashlib
import logging
import random
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.errors import DownloadInterruptedError, GexError, PermanentError, SourceUnavailableError
from gex_pipeline.feeds import Feed
from gex_pipeline.history import download as downloads
from gex_pipeline.history.download import (
    SourceFile,
    adopt,
    ask_api,
    distrust,
    download,
    find_source,
    find_unrecorded_source,
)
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.processes import free_port

PARTITION = Partition(Feed("NQ_NDX", "gex_zero"), dt.date(2025, 11, 14))
NAME = "2025-11-14_NQ_NDX_classic_gex_zero.json"
BODY = b"[" + random.Random(14).randbytes(3_000_000)
CUT_AT = 2_500_000
HOST = "hist.gex.bot"

Download = Callable[[str], SourceFile]
Resolve = Callable[[str], None]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / NAME).write_bytes(BODY)
    return folder


@pytest.fixture
def host(files: Path) -> Iterator[GexBotStandIn]:
    with GexBotStandIn(files, api_key="demo-key") as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, host: GexBotStandIn) -> Settings:
    return load_settings(
        data_dir=tmp_path / "data",
        history_hosts=host.host,
        gexbot_api_key="demo-key",
        gexbot_api_url=f"{host.base_url}/v2",
    )


@pytest.fixture
def fetch(settings: Settings) -> Download:
    return lambda url: download(settings, PARTITION, url, lambda *_: None)


@pytest.fixture
def resolve_to(monkeypatch: pytest.MonkeyPatch, host: GexBotStandIn) -> Resolve:
    """Make every name resolve to one address, at the stand-in's port."""

    def resolve(address: str) -> None:
        port = int(host.host.rpartition(":")[2])
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        found = [(kind, socket.SOCK_STREAM, 6, "", (address, port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    return resolve


def folder(settings: Settings) -> Path:
    return PARTITION.source(settings).parent


def names(settings: Settings) -> set[str]:
    """Return the names of the history files, partial ones included, without locks."""
    return {path.name for path in folder(settings).iterdir() if path.suffix != ".lock"}


def kept(settings: Settings) -> list[bytes]:
    return [path.read_bytes() for path in sorted(settings.backups_dir.rglob("*")) if path.is_file()]


def ranges(host: GexBotStandIn) -> list[str | None]:
    return [request.range for request in host.requests]


def shown(error: BaseException) -> str:
    """Return every text of an error that a log, a traceback or Dagster would show."""
    texts = ["".join(traceback.format_exception(error)), str(error), repr(error)]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "".join([*texts, shown(cause) if cause else ""])


# What arrives


@pytest.mark.parametrize("name", [NAME, f"{NAME}.gz"])
@pytest.mark.parametrize("is_gzipped", [False, True])
def test_a_file_is_named_by_its_bytes_and_not_by_the_name_or_type_it_came_with(
    host: GexBotStandIn, settings: Settings, fetch: Download, name: str, is_gzipped: bool
) -> None:
    body = gzip.compress(BODY[:1000]) if is_gzipped else BODY
    (host.directory / name).write_bytes(body)
    wrong_type = "application/json" if is_gzipped else "application/gzip"
    file = fetch(host.signed_url(name, content_type=wrong_type))
    expected = "20251114_NQ_NDX_gex_zero_history.json" + (".gz" if is_gzipped else "")
    assert file.path == settings.data_dir / "source" / "gexbot" / "NQ_NDX" / "gex_zero" / expected
    assert file.path.read_bytes() == body
    assert file.sha256 == hashlib.sha256(body).hexdigest()
    assert file.size_bytes == len(body)
    assert names(settings) == {expected, f"{expected}.sha256"}


def test_the_checksum_is_recorded_as_sha256sum_does_and_finds_the_file_again(
    host: GexBotStandIn, settings: Settings, fetch: Download
) -> None:
    assert find_source(settings, PARTITION) is None
    file = fetch(host.signed_url(NAME))
    recorded = file.path.with_name(f"{file.path.name}.sha256").read_text()
    assert recorded == f"{hashlib.sha256(BODY).hexdigest()}  {file.path.name}\n"
    assert find_source(settings, PARTITION) == file


def test_a_file_that_changed_on_disk_is_not_taken_for_the_downloaded_one(
    host: GexBotStandIn, settings: Settings, fetch: Download
) -> None:
    path = fetch(host.signed_url(NAME)).path
    path.write_bytes(BODY + b" ")
    assert find_source(settings, PARTITION) is None
    found = find_unrecorded_source(settings, PARTITION)
    assert found == SourceFile(path, hashlib.sha256(BODY + b" ").hexdigest())
    assert find_source(settings, PARTITION) == found


def test_a_chunked_answer_is_whole(host: GexBotStandIn, fetch: Download) -> None:
    assert fetch(host.signed_url(NAME, chunked=True)).path.read_bytes() == BODY


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_slow_answer_is_whole_and_its_progress_is_told(
    host: GexBotStandIn, settings: Settings, is_chunked: bool
) -> None:
    (host.directory / NAME).write_bytes(BODY[:50_000])
    told: list[tuple[int, int | None]] = []
    url = host.signed_url(NAME, bytes_per_second=400_000, chunked=is_chunked)
    file = download(settings, PARTITION, url, lambda have, total: told.append((have, total)))
    assert file.path.read_bytes() == BODY[:50_000]
    assert told[-1] == (50_000, None if is_chunked else 50_000)


def test_a_host_that_stops_sending_is_given_up(
    host: GexBotStandIn, fetch: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "READ_SECONDS", 0.2)
    with pytest.raises(DownloadInterruptedError):
        fetch(host.signed_url(NAME, bytes_per_second=4))


def test_an_earlier_different_file_is_kept_in_the_backups(
    host: GexBotStandIn, settings: Settings, fetch: Download
) -> None:
    first = fetch(host.signed_url(NAME))
    fetch(host.signed_url(NAME))
    assert kept(settings) == []
    (host.directory / NAME).write_bytes(b"[2]")
    second = fetch(host.signed_url(NAME))
    assert second.path.read_bytes() == b"[2]"
    assert kept(settings) == [BODY]
    copy = settings.backups_dir / first.path.relative_to(settings.data_dir)
    assert copy.with_name(f"{copy.name}.{first.sha256[:12]}").is_file()


def test_a_gzip_file_takes_the_place_of_a_plain_one_and_the_other_way_round(
    host: GexBotStandIn, settings: Settings, fetch: Download
) -> None:
    zipped = gzip.compress(b"[2]")
    plain = "20251114_NQ_NDX_gex_zero_history.json"
    for body, name in ((b"[1]", plain), (zipped, f"{plain}.gz"), (b"[3]", plain)):
        (host.directory / NAME).write_bytes(body)
        fetch(host.signed_url(NAME))
        assert names(settings) == {name, f"{name}.sha256"}
    assert sorted(kept(settings)) == sorted([b"[1]", zipped])


# Cut off


def test_what_was_cut_off_goes_on_where_it_ended(host: GexBotStandIn, settings: Settings, fetch: Download) -> None:
    url = host.signed_url(NAME, cut_after=CUT_AT)
    with pytest.raises(DownloadInterruptedError):
        fetch(url)
    assert find_source(settings, PARTITION) is None
    assert not any(name.endswith((".json", ".gz")) for name in names(settings))
    assert fetch(url).path.read_bytes() == BODY
    assert ranges(host) == [None, f"bytes={CUT_AT}-"]
    assert [request.status for request in host.requests] == [200, 206]
    assert len(names(settings)) == 2


def test_what_is_cut_off_again_and_again_still_gets_there(host: GexBotStandIn, fetch: Download) -> None:
    url = host.signed_url(NAME, cut_after=900_000, cuts=3)
    for _ in range(3):
        with pytest.raises(DownloadInterruptedError):
            fetch(url)
    assert fetch(url).path.read_bytes() == BODY
    assert ranges(host) == [None, "bytes=900000-", "bytes=1800000-", "bytes=2700000-"]


def test_a_chunked_answer_that_is_cut_off_is_not_taken_for_whole(host: GexBotStandIn, fetch: Download) -> None:
    url = host.signed_url(NAME, cut_after=CUT_AT, chunked=True)
    with pytest.raises(DownloadInterruptedError):
        fetch(url)
    assert fetch(url).path.read_bytes() == BODY


def test_a_fresh_signature_goes_on_with_what_the_expired_one_brought(host: GexBotStandIn, fetch: Download) -> None:
    with pytest.raises(DownloadInterruptedError):
        fetch(host.signed_url(NAME, cut_after=CUT_AT))
    assert fetch(host.signed_url(NAME, expire_old=True)).path.read_bytes() == BODY
    assert ranges(host)[1] is not None


def test_a_host_without_ranges_sends_it_all_again(host: GexBotStandIn, fetch: Download) -> None:
    url = host.signed_url(NAME, cut_after=CUT_AT, ranges=False)
    with pytest.raises(DownloadInterruptedError):
        fetch(url)
    assert fetch(url).path.read_bytes() == BODY
    assert [request.status for request in host.requests] == [200, 200]


def test_a_file_that_changed_between_two_attempts_is_fetched_from_its_beginning(
    host: GexBotStandIn, fetch: Download
) -> None:
    url = host.signed_url(NAME, cut_after=CUT_AT)
    with pytest.raises(DownloadInterruptedError):
        fetch(url)
    changed = BODY[::-1]
    (host.directory / NAME).write_bytes(changed)
    assert fetch(url).path.read_bytes() == changed
    assert [request.status for request in host.requests] == [200, 200]


def test_a_partial_file_that_has_it_all_already_starts_over(
    host: GexBotStandIn, settings: Settings, fetch: Download
) -> None:
    url = host.signed_url(NAME, cut_after=CUT_AT)
    with pytest.raises(DownloadInterruptedError):
        fetch(url)
    next(folder(settings).glob("*.part")).write_bytes(BODY)
    with pytest.raises(DownloadInterruptedError, match="starting over"):
        fetch(url)
    assert fetch(url).path.read_bytes() == BODY


def test_two_downloads_of_one_partition_take_turns(host: GexBotStandIn, settings: Settings, fetch: Download) -> None:
    url = host.signed_url(NAME, bytes_per_second=20_000_000)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(fetch, [url, url])
    assert first == second
    assert first.path.read_bytes() == BODY
    assert kept(settings) == []


# Refused


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (401, SourceUnavailableError, "not accepted"),
        (403, SourceUnavailableError, "expired; announce the file with a fresh one"),
        (404, SourceUnavailableError, "no such file"),
        (410, SourceUnavailableError, "no such file"),
        (418, SourceUnavailableError, "no file"),
        (429, DownloadInterruptedError, "429"),
        (500, DownloadInterruptedError, "500"),
        (503, DownloadInterruptedError, "503"),
    ],
)
def test_a_refusal_says_what_it_was_and_whether_another_attempt_can_help(
    host: GexBotStandIn, settings: Settings, fetch: Download, status: int, kind: type[GexError], said: str
) -> None:
    with pytest.raises(kind, match=said) as refused:
        fetch(host.signed_url(NAME, status=status))
    assert f"{host.base_url}/files/{NAME} answered {status}" in str(refused.value)
    assert names(settings) == set()


def test_a_signature_that_expired_is_refused(host: GexBotStandIn, fetch: Download) -> None:
    expired = host.signed_url(NAME)
    host.signed_url(NAME, expire_old=True)
    with pytest.raises(SourceUnavailableError, match="403"):
        fetch(expired)


def test_a_host_that_recovers_from_errors_is_asked_until_it_has_the_file(
    host: GexBotStandIn, fetch: Download
) -> None:
    url = host.signed_url(NAME, failures=2)
    for _ in range(2):
        with pytest.raises(DownloadInterruptedError, match="503"):
            fetch(url)
    assert fetch(url).path.read_bytes() == BODY


def test_an_error_between_two_halves_does_not_lose_the_first(host: GexBotStandIn, fetch: Download) -> None:
    with pytest.raises(DownloadInterruptedError):
        fetch(host.signed_url(NAME, cut_after=CUT_AT))
    with pytest.raises(DownloadInterruptedError):
        fetch(host.signed_url(NAME, failures=1))
    assert fetch(host.signed_url(NAME)).path.read_bytes() == BODY
    assert ranges(host)[2] == f"bytes={CUT_AT}-"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_file_that_is_too_large_is_refused_and_leaves_no_file(
    host: GexBotStandIn, settings: Settings, fetch: Download, monkeypatch: pytest.MonkeyPatch, is_chunked: bool
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "MAX_DOWNLOAD_BYTES", 1_500_000)
        with pytest.raises(PermanentError, match="1,500,000"):
            fetch(host.signed_url(NAME, chunked=is_chunked))
    assert find_source(settings, PARTITION) is None
    assert find_unrecorded_source(settings, PARTITION) is None
    if not is_chunked:
        assert names(settings) == set(), "the length was told before the body"
    monkeypatch.setattr(downloads, "MAX_DOWNLOAD_BYTES", len(BODY))
    assert fetch(host.signed_url(NAME)).path.read_bytes() == BODY


# Allowed hosts


def test_a_redirect_to_an_allowed_host_is_followed(host: GexBotStandIn, settings: Settings, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other").write_bytes(b"[1]")
    with GexBotStandIn(elsewhere) as second:
        hosts = f"{host.host},{second.host}"
        allowing = load_settings(data_dir=settings.data_dir, history_hosts=hosts)
        url = host.signed_url(NAME, redirect_to=second.signed_url("other"))
        file = download(allowing, PARTITION, url, lambda *_: None)
        assert file.path.read_bytes() == b"[1]"
        with pytest.raises(PermanentError, match="GEX_HISTORY_HOSTS"):
            download(settings, PARTITION, url, lambda *_: None)
        assert len(second.requests) == 1


def test_a_redirect_within_the_host_may_be_relative(host: GexBotStandIn, fetch: Download) -> None:
    (host.directory / "other").write_bytes(b"[1]")
    relative = host.signed_url("other").removeprefix(host.base_url)
    assert fetch(host.signed_url(NAME, redirect_to=relative)).path.read_bytes() == b"[1]"


def test_redirects_have_an_end(host: GexBotStandIn, fetch: Download) -> None:
    url = host.signed_url(NAME)
    host.signed_url(NAME, redirect_to=url)
    with pytest.raises(PermanentError, match="redirects more than"):
        fetch(url)
    assert len(host.requests) == 5


@pytest.mark.parametrize("target", ["http://127.0.0.1:abc/x?sig=SECRET", "http://127.0.0.1:99999/x?sig=SECRET"])
def test_a_redirect_to_what_is_no_url_is_a_permanent_failure(
    host: GexBotStandIn, fetch: Download, target: str
) -> None:
    with pytest.raises(PermanentError) as refused:
        fetch(host.signed_url(NAME, redirect_to=target))
    assert "SECRET" not in str(refused.value)


def test_a_user_name_and_password_in_a_url_are_not_shown(settings: Settings) -> None:
    url = "https://someone:SECRET@hist.gex.bot/a.json?sig=SECRET"
    with pytest.raises(PermanentError, match=r"^https://hist\.gex\.bot/a\.json is on a host") as refused:
        download(settings, PARTITION, url, lambda *_: None)
    assert "SECRET" not in shown(refused.value)


REFUSED_URLS = [
    "https://example.com/a.json?sig=SECRET",
    "http://hist.gex.bot/a.json?sig=SECRET",
    "https://hist.gex.bot:8443/a.json?sig=SECRET",
    "https://hist.gex.bot.example.com/a.json?sig=SECRET",
    "https://example.com/hist.gex.bot/a.json?sig=SECRET",
    "http://127.0.0.1/a.json?sig=SECRET",
    "http://localhost:{port}/a.json?sig=SECRET",
    "http://2130706433:{port}/a.json?sig=SECRET",
    "ftp://127.0.0.1:{port}/a.json?sig=SECRET",
    "file:///etc/hostname?sig=SECRET",
    "//127.0.0.1:1/a.json?sig=SECRET",
    "http://someone@127.0.0.1:{port}/a.json?sig=SECRET",
]


@pytest.mark.parametrize("is_redirect", [False, True])
@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_host_that_is_not_allowed_is_never_asked(
    host: GexBotStandIn, settings: Settings, url: str, is_redirect: bool
) -> None:
    hosts = f"{host.host},{HOST}"
    allowing = load_settings(data_dir=settings.data_dir, history_hosts=hosts)
    target = url.format(port=host.host.rpartition(":")[2])
    first = host.signed_url(NAME, redirect_to=target) if is_redirect else target
    with pytest.raises(PermanentError, match="does not allow") as refused:
        download(allowing, PARTITION, first, lambda *_: None)
    assert "SECRET" not in shown(refused.value)
    assert len(host.requests) == is_redirect


def own_private_address() -> str | None:
    """Return an address of this machine that is neither loopback nor public; None when there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return address


@pytest.mark.parametrize("loopback_hosts", ["", "127.0.0.1:1,"])
def test_an_allowed_name_that_resolves_to_a_private_address_is_not_asked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, loopback_hosts: str
) -> None:
    address = own_private_address()
    if address is None or address.startswith("127."):
        pytest.skip("this machine has loopback only")
    with socket.create_server((address, 0)) as listener:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", listener.getsockname())]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        allowing = load_settings(data_dir=settings.data_dir, history_hosts=f"{loopback_hosts}{HOST}")
        with pytest.raises(PermanentError, match="not a public address"):
            download(allowing, PARTITION, f"https://{HOST}/a.json?sig=SECRET", lambda *_: None)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1) == b""


def test_an_allowed_name_that_resolves_to_loopback_is_not_asked(
    host: GexBotStandIn, settings: Settings, resolve_to: Resolve
) -> None:
    allowing = load_settings(data_dir=settings.data_dir, history_hosts=HOST)
    resolve_to("127.0.0.1")
    with pytest.raises(PermanentError, match=r"resolves to 127\.0\.0\.1"):
        download(allowing, PARTITION, f"https://{HOST}/files/{NAME}?sig=SECRET", lambda *_: None)
    assert host.requests == []


def test_a_proxy_in_the_environment_does_not_get_the_url(
    host: GexBotStandIn, fetch: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert fetch(host.signed_url(NAME)).path.read_bytes() == BODY


# Secrets


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


# GexBot's API


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


# Somebody's own file


def test_an_adopted_file_stands_in_the_partitions_place_whatever_name_leads_to_it(
    tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / "mine").write_bytes(BODY)
    (tmp_path / "link.json").symlink_to("mine")
    found = adopt(settings, PARTITION, tmp_path / "link.json")
    assert (found.path, found.path.is_symlink()) == (PARTITION.source(settings).with_suffix(".json"), False)
    assert found == find_source(settings, PARTITION)
    assert adopt(settings, PARTITION, found.path.parent / ".." / "gex_zero" / found.path.name) == found
    assert names(settings) == {found.path.name, f"{found.path.name}.sha256"}


def test_a_file_that_is_adopted_again_after_it_was_distrusted_leaves_nothing_beside_it(
    tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / "mine.json").write_bytes(BODY)
    found = adopt(settings, PARTITION, tmp_path / "mine.json")
    distrust(found)
    assert adopt(settings, PARTITION, tmp_path / "mine.json") == found
    assert names(settings) == {found.path.name, f"{found.path.name}.sha256"}


@pytest.mark.parametrize("is_marked", [False, True])
def test_a_download_never_writes_into_a_file_whose_adoption_was_cut_off(
    tmp_path: Path, host: GexBotStandIn, settings: Settings, fetch: Download, is_marked: bool
) -> None:
    mine = tmp_path / "mine.json"
    mine.write_bytes(b"[{}]")
    partial = PARTITION.source(settings).with_suffix(".part")
    partial.parent.mkdir(parents=True)
    partial.hardlink_to(mine)
    if is_marked:
        partial.with_suffix(".etag").write_text('"of another file"')
    assert fetch(host.signed_url(NAME)).path.read_bytes() == BODY
    assert mine.read_bytes() == b"[{}]"
