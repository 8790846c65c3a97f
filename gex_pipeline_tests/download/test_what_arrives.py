"""Downloads that arrive: named by their bytes, with their checksum, whole."""

import gzip
import hashlib

import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.errors import DownloadInterruptedError
from gex_pipeline.history import download as downloads
from gex_pipeline.history.download import SourceFile, download, find_source, find_unrecorded_source
from gex_pipeline.settings import Settings
from gex_pipeline_tests.download.partition_files import BODY, NAME, PARTITION, Download, kept, names


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
