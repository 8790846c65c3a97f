"""Only allowed hosts are asked, redirects and resolved addresses included."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.errors import PermanentError
from gex_pipeline.history.download import download
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.download.partition_files import BODY, NAME, PARTITION, Download, shown
from gex_pipeline_tests.processes import free_port

HOST = "hist.gex.bot"
Resolve = Callable[[str], None]


@pytest.fixture
def resolve_to(monkeypatch: pytest.MonkeyPatch, host: GexBotStandIn) -> Resolve:
    """Make every name resolve to one address, at the stand-in's port."""

    def resolve(address: str) -> None:
        port = int(host.host.rpartition(":")[2])
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        found = [(kind, socket.SOCK_STREAM, 6, "", (address, port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    return resolve


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


def own_private_address() -> str:
    """Return an address of this machine that is not public, loopback when it has no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
    return address


@pytest.mark.parametrize("loopback_hosts", ["", "127.0.0.1:1,"])
def test_an_allowed_name_that_resolves_to_a_private_address_is_not_asked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, loopback_hosts: str
) -> None:
    with socket.create_server((own_private_address(), 0)) as listener:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", listener.getsockname())]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        allowing = load_settings(data_dir=settings.data_dir, history_hosts=f"{loopback_hosts}{HOST}")
        with pytest.raises(PermanentError, match="not a public address"):
            download(allowing, PARTITION, f"https://{HOST}/a.json?sig=SECRET", lambda *_: None)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1) == b""


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"])  # noqa: S104 - none is listened on
def test_an_allowed_name_that_resolves_to_loopback_is_not_asked(
    host: GexBotStandIn, settings: Settings, resolve_to: Resolve, address: str
) -> None:
    allowing = load_settings(data_dir=settings.data_dir, history_hosts=HOST)
    resolve_to(address)
    with pytest.raises(PermanentError, match=r"resolves to .*127\.0\.0\.1|resolves to ::ffff:7f00:1"):
        download(allowing, PARTITION, f"https://{HOST}/files/{NAME}?sig=SECRET", lambda *_: None)
    assert host.requests == []


def test_a_proxy_in_the_environment_does_not_get_the_url(
    host: GexBotStandIn, fetch: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert fetch(host.signed_url(NAME)).path.read_bytes() == BODY
