"""Downloads that are cut off: resumed where the host allows, never taken for whole."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.errors import DownloadInterruptedError
from gex_pipeline.history.download import find_source
from gex_pipeline.settings import Settings
from gex_pipeline_tests.download.partition_files import (
    BODY,
    CUT_AT,
    NAME,
    PARTITION,
    Download,
    folder,
    kept,
    names,
    ranges,
)


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
