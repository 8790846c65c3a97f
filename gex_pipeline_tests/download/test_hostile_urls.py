"""What only looks like an allowed host is never asked, announced or redirected to."""

from collections.abc import Iterator

import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.errors import PermanentError
from gex_pipeline.history.download import download
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.download.partition_files import BODY, NAME, PARTITION, Download, shown
from gex_pipeline_tests.hostile_urls import ALLOWED, HOSTILE_ORIGINS

SENDABLE = [each for each in HOSTILE_ORIGINS if each.isascii() and each.isprintable() and ":/" in each[1:]]
RELATIVE = ("https:/hist.gex.bot", "https:///hist.gex.bot")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GexBotStandIn]:
    """A host on loopback that is not on the allow list."""
    with GexBotStandIn(tmp_path_factory.mktemp("stranger")) as running:
        yield running


@pytest.mark.parametrize("origin", HOSTILE_ORIGINS)
def test_what_only_looks_like_an_allowed_host_is_not_asked(
    settings: Settings, stranger: GexBotStandIn, origin: str
) -> None:
    allowing = load_settings(data_dir=settings.data_dir, history_hosts=ALLOWED)
    url = f"{origin.format(port=stranger.host.rpartition(':')[2])}/files/{NAME}?sig=SECRET"
    with pytest.raises(PermanentError) as refused:
        download(allowing, PARTITION, url, lambda *_: None)
    assert "SECRET" not in shown(refused.value)
    assert stranger.requests == []


@pytest.mark.parametrize("origin", [origin for origin in SENDABLE if origin not in RELATIVE])
def test_what_only_looks_like_an_allowed_host_is_not_asked_by_a_redirect_either(
    host: GexBotStandIn, settings: Settings, stranger: GexBotStandIn, origin: str
) -> None:
    allowing = load_settings(data_dir=settings.data_dir, history_hosts=f"{host.host},{ALLOWED}")
    target = f"{origin.format(port=stranger.host.rpartition(':')[2])}/files/{NAME}?sig=SECRET"
    with pytest.raises(PermanentError) as refused:
        download(allowing, PARTITION, host.signed_url(NAME, redirect_to=target), lambda *_: None)
    assert "SECRET" not in shown(refused.value)
    assert (len(host.requests), stranger.requests) == (1, [])


def test_an_allowed_host_may_be_written_in_capitals(host: GexBotStandIn, fetch: Download) -> None:
    assert fetch(host.signed_url(NAME).replace("http://", "HTTP://")).path.read_bytes() == BODY
