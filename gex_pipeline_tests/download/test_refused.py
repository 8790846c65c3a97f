"""Downloads that are refused or too large: what is said, and whether another attempt can help."""

import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.errors import DownloadInterruptedError, GexError, PermanentError, SourceUnavailableError
from gex_pipeline.history import download as downloads
from gex_pipeline.history.download import find_source, find_unrecorded_source
from gex_pipeline.settings import Settings
from gex_pipeline_tests.download.partition_files import BODY, CUT_AT, NAME, PARTITION, Download, names, ranges


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
