"""The GexBot stand-in over real HTTP: who gets which file, and each way a server can misbehave."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from requests.exceptions import ChunkedEncodingError as CutOff

from gex_pipeline.demo.gexbot_answers import RecordedRequest
from gex_pipeline.demo.gexbot_standin import GexBotStandIn

NAME = "2025-11-14_NQ_NDX_classic_gex_zero.json"
BODY = bytes(range(256)) * 40
KEY = {"Authorization": "Bearer demo-key"}

Get = Callable[..., requests.Response]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / NAME).write_bytes(BODY)
    (tmp_path / "secret.json").write_bytes(b"not yours")
    return folder


@pytest.fixture
def stand_in(directory: Path) -> Iterator[GexBotStandIn]:
    with GexBotStandIn(directory) as running:
        yield running


@pytest.fixture
def get() -> Iterator[Get]:
    """A client that keeps its connection alive, follows no redirect and sends no `Accept-Encoding`."""
    with requests.Session() as client:

        def get(url: str, **headers: str) -> requests.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return client.get(url, headers=named, allow_redirects=False, timeout=10)

        yield get


def history(stand_in: GexBotStandIn, path: str = "NQ_NDX/classic/gex_zero/2025-11-14") -> str:
    return f"{stand_in.base_url}/v2/hist/{path}"


def test_noredirect_gives_a_signed_url_that_serves_the_file(stand_in: GexBotStandIn, get: Get) -> None:
    answer = get(f"{history(stand_in)}?noredirect", **KEY)
    assert answer.status_code == 200
    url = answer.json()["url"]
    assert url.startswith(f"http://{stand_in.host}/files/{NAME}?sv=")
    file = get(url)
    assert (file.status_code, file.content) == (200, BODY)
    assert file.headers["Content-Type"] == "application/json"
    assert "Content-Encoding" not in file.headers


def test_without_noredirect_the_answer_redirects_to_the_file(stand_in: GexBotStandIn, get: Get) -> None:
    answer = get(history(stand_in), **KEY)
    assert answer.status_code == 302
    assert get(answer.headers["Location"]).content == BODY


@pytest.mark.parametrize(
    ("authorization", "status"),
    [("Bearer demo-key", 200), ("Basic demo-key", 200), ("Bearer other", 401), ("demo-key", 401), (None, 401)],
)
def test_the_history_api_needs_the_key(
    stand_in: GexBotStandIn, get: Get, authorization: str | None, status: int
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = get(f"{history(stand_in)}?noredirect", **headers)
    assert answer.status_code == status
    assert ("url" in answer.json()) == (status == 200)


@pytest.mark.parametrize(
    "path",
    [
        "NQ_NDX/classic/gex_zero/2025-11-15",
        "SPX/classic/gex_zero/2025-11-14",
        "NQ_NDX/state/gex_zero/2025-11-14",
        "NQ_NDX/classic/gex_one/2025-11-14",
        "..%2F..%2Fsecret/classic/gex_zero/2025-11-14",
        "NQ_NDX/classic/gex_zero",
    ],
)
def test_a_day_without_a_file_is_404_with_an_error(stand_in: GexBotStandIn, get: Get, path: str) -> None:
    answer = get(history(stand_in, path), **KEY)
    assert answer.status_code == 404
    assert answer.json()["error"]


def test_a_compressed_file_is_found_too_and_sent_as_it_is_on_disk(
    stand_in: GexBotStandIn, directory: Path, get: Get
) -> None:
    (directory / NAME).rename(directory / f"{NAME}.gz")
    url = get(f"{history(stand_in)}?noredirect", **KEY).json()["url"]
    assert f"{NAME}.gz?" in url
    assert get(url).content == BODY


def test_throttled_and_not_entitled_look_the_same(directory: Path, get: Get) -> None:
    with GexBotStandIn(directory, rate_limit=True) as stand_in:
        assert get(history(stand_in), **KEY).status_code == 302
        throttled = get(history(stand_in), **KEY)
        time.sleep(1.05)
        assert get(history(stand_in), **KEY).status_code == 302
    with GexBotStandIn(directory) as stand_in:
        stand_in.not_entitled.add("NQ_NDX")
        refused = get(history(stand_in), **KEY)
    assert throttled.status_code == refused.status_code == 403
    assert throttled.json() == refused.json()


def test_a_file_needs_its_own_signature(stand_in: GexBotStandIn, directory: Path, get: Get) -> None:
    (directory / "other.json").write_bytes(b"[]")
    url, other = stand_in.signed_url(NAME), stand_in.signed_url("other.json")
    assert get(url).status_code == 200
    assert get(url.partition("?")[0]).status_code == 403
    assert get(url[:-8] + "AAAAA%3D").status_code == 403
    assert get(url.replace(NAME, "other.json")).status_code == 403
    assert get(other).content == b"[]"


def test_a_fresh_signature_leaves_the_old_valid_unless_told_to_expire_it(stand_in: GexBotStandIn, get: Get) -> None:
    old, fresh = stand_in.signed_url(NAME), stand_in.signed_url(NAME)
    assert old != fresh
    assert [get(url).status_code for url in (old, fresh)] == [200, 200]
    newest = stand_in.signed_url(NAME, expire_old=True)
    assert [get(url).status_code for url in (old, fresh, newest)] == [403, 403, 200]


@pytest.mark.parametrize("name", ["../secret.json", "{parent}/secret.json", "link.json", "", "missing.json"])
def test_only_files_inside_the_directory_are_served(
    stand_in: GexBotStandIn, directory: Path, get: Get, name: str
) -> None:
    (directory / "link.json").symlink_to(directory.parent / "secret.json")
    answer = get(stand_in.signed_url(name.format(parent=directory.parent)))
    assert answer.status_code == 404
    assert b"not yours" not in answer.content


@pytest.mark.parametrize(
    ("wanted", "expected", "content_range"),
    [
        ("bytes=100-199", BODY[100:200], "bytes 100-199/10240"),
        ("bytes=10000-", BODY[10_000:], "bytes 10000-10239/10240"),
        ("bytes=10000-99999", BODY[10_000:], "bytes 10000-10239/10240"),
        ("bytes=-7", BODY[-7:], "bytes 10233-10239/10240"),
    ],
)
def test_a_range_is_answered_with_that_part(
    stand_in: GexBotStandIn, get: Get, wanted: str, expected: bytes, content_range: str
) -> None:
    answer = get(stand_in.signed_url(NAME), Range=wanted)
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["Content-Range"] == content_range


def test_a_range_past_the_end_is_416_with_the_size(stand_in: GexBotStandIn, get: Get) -> None:
    answer = get(stand_in.signed_url(NAME), Range="bytes=10240-")
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */10240"


def test_if_range_gives_the_part_of_the_same_file_and_the_whole_of_a_changed_one(
    stand_in: GexBotStandIn, directory: Path, get: Get
) -> None:
    url = stand_in.signed_url(NAME)
    whole = get(url)
    etag = whole.headers["ETag"]
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert get(url, Range="bytes=5-", If_Range=etag).content == BODY[5:]
    (directory / NAME).write_bytes(BODY[::-1] + b"!")
    changed = get(url, Range="bytes=5-", If_Range=etag)
    assert (changed.status_code, changed.content) == (200, BODY[::-1] + b"!")


def test_without_ranges_the_whole_file_is_sent_to_everybody(stand_in: GexBotStandIn, get: Get) -> None:
    answer = get(stand_in.signed_url(NAME, ranges=False), Range="bytes=5-")
    assert (answer.status_code, answer.content) == (200, BODY)
    assert "Accept-Ranges" not in answer.headers


def test_failures_end_after_their_number(stand_in: GexBotStandIn, get: Get) -> None:
    url = stand_in.signed_url(NAME, failures=2, failure_status=502)
    assert [get(url).status_code for _ in range(4)] == [502, 502, 200, 200]


def test_a_status_is_answered_always(stand_in: GexBotStandIn, get: Get) -> None:
    url = stand_in.signed_url(NAME, status=410)
    assert [get(url).status_code for _ in range(3)] == [410, 410, 410]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_cut_transfer_stops_after_its_bytes_and_can_be_resumed(
    stand_in: GexBotStandIn,
    get: Get,
    chunked: bool,
) -> None:
    url = stand_in.signed_url(NAME, cut_after=1_000, cuts=2, chunked=chunked)
    for _ in range(2):
        received = b""
        with requests.get(url, stream=True, timeout=10) as answer, pytest.raises(CutOff):  # noqa: PT012
            assert answer.headers.get("Content-Length") == (None if chunked else "10240")
            for piece in answer.iter_content(100):
                received += piece
        assert received == BODY[:1_000]
    assert get(url, Range="bytes=1000-").content == BODY[1_000:]
    assert get(url).content == BODY


def test_cuts_may_hit_resumed_transfers_as_well(stand_in: GexBotStandIn, get: Get) -> None:
    url = stand_in.signed_url(NAME, cut_after=4_000, cuts=9)
    with pytest.raises(CutOff):
        get(url)
    with pytest.raises(CutOff):
        get(url, Range="bytes=4000-")
    assert get(url, Range="bytes=8000-").content == BODY[8_000:]


def test_a_chunked_answer_has_no_length_and_keeps_the_connection(stand_in: GexBotStandIn, get: Get) -> None:
    url = stand_in.signed_url(NAME, chunked=True)
    for _ in range(2):
        answer = get(url)
        assert answer.content == BODY
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert "Content-Length" not in answer.headers


def test_a_slow_file_takes_its_time_and_delivers_along_the_way(stand_in: GexBotStandIn) -> None:
    url = stand_in.signed_url(NAME, bytes_per_second=20_480)
    started = time.monotonic()
    with requests.get(url, stream=True, timeout=10) as answer:
        pieces = answer.iter_content(256)
        next(pieces)
        first_at = time.monotonic()
        assert sum(map(len, pieces)) == len(BODY) - 256
    ended = time.monotonic()
    assert ended - started >= 0.5
    assert ended - first_at >= 0.1


def test_content_type_and_redirect_are_as_asked(stand_in: GexBotStandIn, get: Get) -> None:
    assert get(stand_in.signed_url(NAME, content_type="text/html")).headers["Content-Type"] == "text/html"
    answer = get(stand_in.signed_url(NAME, redirect_to="http://169.254.1.1/elsewhere"))
    assert (answer.status_code, answer.headers["Location"]) == (302, "http://169.254.1.1/elsewhere")


def test_a_files_behaviour_holds_for_urls_signed_later(stand_in: GexBotStandIn, get: Get) -> None:
    stand_in.signed_url(NAME, failures=1)
    url = get(f"{history(stand_in)}?noredirect", **KEY).json()["url"]
    assert [get(url).status_code for _ in range(2)] == [503, 200]


def test_a_behaviour_that_does_not_exist_is_refused(stand_in: GexBotStandIn) -> None:
    with pytest.raises(TypeError, match="cut_before"):
        stand_in.signed_url(NAME, cut_before=3)


def test_every_request_is_recorded_with_its_range_and_without_its_query(stand_in: GexBotStandIn, get: Get) -> None:
    get(f"{history(stand_in)}?noredirect")
    get(stand_in.signed_url(NAME), Range="bytes=5-9")
    assert stand_in.requests == [
        RecordedRequest("GET", "/v2/hist/NQ_NDX/classic/gex_zero/2025-11-14", 401, None),
        RecordedRequest("GET", f"/files/{NAME}", 206, "bytes=5-9"),
    ]


def test_leaving_stops_open_transfers_and_all_threads(directory: Path, get: Get) -> None:
    before = set(threading.enumerate())
    with GexBotStandIn(directory) as stand_in:
        base_url = stand_in.base_url
        assert get(f"{base_url}/kept-alive").status_code == 404
        slow = requests.get(stand_in.signed_url(NAME, bytes_per_second=100), stream=True, timeout=10)
        assert slow.raw.read(5) == BODY[:5]
        left = time.monotonic()
    assert time.monotonic() - left < 5
    assert set(threading.enumerate()) <= before
    slow.close()
    with pytest.raises(requests.ConnectionError):
        get(base_url)


def test_a_client_that_leaves_early_goes_unnoticed(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (directory / NAME).write_bytes(BODY * 3_000)
    with GexBotStandIn(directory) as stand_in:
        with requests.get(stand_in.signed_url(NAME), stream=True, timeout=10) as answer:
            answer.raw.read(10)
        with requests.get(stand_in.signed_url(NAME), timeout=10) as answer:
            assert len(answer.content) == len(BODY) * 3_000
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_as_a_program_it_prints_its_url_and_stops_cleanly(directory: Path, get: Get, stop: signal.Signals) -> None:
    command = [sys.executable, "-m", "gex_pipeline.demo.gexbot_standin", "--directory", str(directory), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        base_url = program.stdout.readline().strip()
        try:
            url = get(f"{base_url}/v2/hist/NQ_NDX/classic/gex_zero/2025-11-14?noredirect", **KEY).json()["url"]
            assert get(url).content == BODY
        finally:
            program.send_signal(stop)
        output, errors = program.communicate(timeout=10)
    assert (program.returncode, output, errors) == (0, "", "")


def test_as_a_program_it_refuses_a_directory_that_is_not_there(directory: Path) -> None:
    command = [sys.executable, "-m", "gex_pipeline.demo.gexbot_standin", "--directory", str(directory / "none")]
    program = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert program.returncode == 2
    assert "no such directory" in program.stderr
