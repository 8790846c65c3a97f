"""Where the job gets its file from, what it prefers, and what it tries again."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest

from gex_pipeline.clock import epoch_ms
from gex_pipeline.demo.sessions import Session, write_history_file
from gex_pipeline.errors import DownloadInterruptedError, SourceUnavailableError
from gex_pipeline.history import assets, gexbot_api
from gex_pipeline.history.download import distrust
from gex_pipeline.history.obtaining import Obtained, obtain
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import load_settings
from gex_pipeline.trading_days import sessions_before
from gex_pipeline_tests.history_import.world import DAY, ZERO, World, assert_equal_to_file, failure, metadata, retries
from gex_pipeline_tests.records import announce_url

# GexBot keeps files for 90 days.
RECENT = Partition(ZERO.feed, sessions_before(epoch_ms(), 5)[0])


@pytest.fixture
def use_the_api(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the job a key to GexBot's API, which it may ask without pausing."""
    monkeypatch.setattr(gexbot_api, "TURN_SECONDS", 0.0)
    api = {"gexbot_api_key": "demo-key", "gexbot_api_url": f"{world.gexbot.base_url}/v2"}
    world.settings = load_settings(data_dir=world.settings.data_dir, history_hosts=world.gexbot.host, **api)


def test_without_any_source_the_run_fails_once_and_says_what_to_do(world: World) -> None:
    result = world.run(ZERO)
    place = ZERO.source(world.settings)
    assert failure(result) == (
        f"there is no history file for {ZERO.key}: announce its URL with POST /gex_history_url, "
        f"set GEXBOT_API_KEY, or put the file at {place}.json"
    )
    assert retries(result) == 0
    assert not world.settings.database_path.exists()


def test_a_file_put_in_place_is_imported(world: World) -> None:
    path = world.write(ZERO)
    place = ZERO.source(world.settings)
    place.parent.mkdir(parents=True)
    path.rename(place.with_name(f"{place.name}.json"))
    result = world.run(ZERO)
    assert result.success
    assert metadata(result)["history_file"]["origin"] == "put in place by hand"
    assert_equal_to_file(world, ZERO, place.with_name(f"{place.name}.json"))


@pytest.mark.usefixtures("use_the_api")
def test_with_a_key_the_file_comes_from_gexbots_api(world: World) -> None:
    path = world.write(RECENT)
    result = world.run(RECENT)
    assert result.success
    assert metadata(result)["history_file"]["origin"] == "GexBot history API"
    assert_equal_to_file(world, RECENT, path)


def test_a_file_is_fetched_again_only_when_it_was_announced_again(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=3)
    world.import_file(ZERO, path)
    assert metadata(world.run(ZERO))["history_file"]["origin"] == "already downloaded"
    assert len(world.gexbot.requests) == 1
    assert metadata(world.import_file(ZERO, path))["history_file"]["origin"] == "announced URL"
    assert len(world.gexbot.requests) == 2


@pytest.mark.usefixtures("use_the_api")
def test_a_file_that_came_truncated_is_fetched_again(world: World) -> None:
    path = world.write(RECENT, snapshots=20, strikes=2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-300])
    assert "download it again" in failure(world.run(RECENT))
    path.write_bytes(whole)
    assert world.run(RECENT).success


@pytest.mark.usefixtures("use_the_api")
@pytest.mark.parametrize("partition", [ZERO, RECENT])
def test_a_file_put_in_place_is_taken_when_the_api_has_none(world: World, partition: Partition) -> None:
    place = partition.source(world.settings)
    place.parent.mkdir(parents=True)
    world.write(partition, snapshots=20, strikes=2).rename(place.with_name(f"{place.name}.json"))
    assert metadata(world.run(partition))["history_file"]["origin"] == "put in place by hand"


def test_a_file_put_in_place_since_is_taken_when_the_announced_host_cannot_be_reached(world: World) -> None:
    nobody = "127.0.0.1:1"
    world.settings = load_settings(data_dir=world.settings.data_dir, history_hosts=nobody)
    announce_url(world.settings, ZERO, f"http://{nobody}/{ZERO.date}_NQ_NDX_classic_gex_zero.json?sig=SECRET")
    announced_seconds = world.query("SELECT announced_at FROM gex_history_queue")[0][0] / 1000
    place = ZERO.source(world.settings).with_suffix(".json")
    place.parent.mkdir(parents=True)
    place.with_suffix(".part").write_bytes(b"[half of a download")
    world.write(ZERO, snapshots=20, strikes=2).rename(place)
    for older in (announced_seconds - 1, announced_seconds):  # the latter is what the system itself gives a download
        os.utime(place, (older, older))
        with pytest.raises(DownloadInterruptedError) as failed:
            obtain(world.settings, ZERO, lambda *_: None)
        assert f"put the file at {place} and touch it" in str(failed.value)
        assert "taken at the next try" in str(failed.value)
        assert "SECRET" not in str(failed.value)
    place.touch()
    obtained = obtain(world.settings, ZERO, lambda *_: None)
    assert (obtained.file.path, obtained.origin) == (place, "put in place by hand")


def test_a_download_that_was_distrusted_is_not_taken_for_one_put_in_place_when_its_link_expires(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=2)
    world.announce(ZERO, path)
    distrust(obtain(world.settings, ZERO, lambda *_: None).file)
    world.gexbot.signed_url(path.name, expire_old=True)
    with pytest.raises(SourceUnavailableError, match="expired"):
        obtain(world.settings, ZERO, lambda *_: None)


def test_an_earlier_download_that_serves_in_place_of_a_refused_one_is_called_so(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=2)
    world.announce(ZERO, path)
    first = obtain(world.settings, ZERO, lambda *_: None).file
    world.announce(ZERO, path, status=404)
    assert obtain(world.settings, ZERO, lambda *_: None) == Obtained(first, "already downloaded")


def test_a_file_announced_while_another_is_fetched_is_newer_than_it(world: World) -> None:
    first = world.write(ZERO, snapshots=20, strikes=3)
    world.announce(ZERO, first)
    slow = world.gexbot.signed_url(first.name, bytes_per_second=20_000)
    announce_url(world.settings, ZERO, slow)
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(obtain, world.settings, ZERO, lambda *_: None)
        while not world.gexbot.requests:
            time.sleep(0.01)
        more = world.gexbot.directory / "2025-11-14_NQ_NDX_classic_gex_zero_more.json"
        write_history_file(more, Session(feed=ZERO.feed, date=DAY, snapshots=30, strikes=3))
        world.announce(ZERO, more)
        fetching.result()
    assert obtain(world.settings, ZERO, lambda *_: None).file.path.read_bytes() == more.read_bytes()


@pytest.mark.usefixtures("short_pauses")
def test_a_download_that_is_cut_off_is_retried_by_the_step_and_resumed(world: World) -> None:
    path = world.write(ZERO)
    world.announce(ZERO, path, cut_after=50_000, cuts=1)
    result = world.run(ZERO)
    assert result.success
    assert retries(result) == 1
    assert [request.range for request in world.gexbot.requests] == [None, "bytes=50000-"]
    assert_equal_to_file(world, ZERO, path)


@pytest.mark.usefixtures("short_pauses")
def test_a_host_that_stays_down_is_asked_four_times(world: World) -> None:
    world.announce(ZERO, world.write(ZERO), status=503)
    result = world.run(ZERO)
    assert not result.success
    assert len(world.gexbot.requests) == 4
    name = "20251114_NQ_NDX_gex_zero_history.json"
    asked = "SELECT status, source_file, sha256, run_id FROM data_lineage"
    assert world.query(asked) == [("failed", name, None, result.run_id)]


def test_an_expired_link_is_not_retried(world: World) -> None:
    world.announce(ZERO, world.write(ZERO), status=403)
    assert "announce the file with a fresh one" in failure(world.run(ZERO))
    assert len(world.gexbot.requests) == 1
    [(errors,)] = world.query("SELECT errors FROM data_lineage")
    assert "answered 403" in errors
    assert "sig=" not in errors


def test_the_pauses_between_downloads_grow() -> None:
    policy = assets.DOWNLOAD_RETRIES
    assert (policy.max_retries, policy.delay, policy.backoff) == (3, 2, dg.Backoff.EXPONENTIAL)
