"""GexBot's API: asked for the URL of a day in turns, with a key that is not shown; each refusal says what it is."""

import datetime as dt
import socket
import threading
import time
from pathlib import Path

import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.errors import DownloadInterruptedError, GexError, SourceUnavailableError
from gex_pipeline.history import gexbot_api
from gex_pipeline.history.download import download
from gex_pipeline.history.gexbot_api import ask_api, may_be_published_later, take_turn
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.download.partition_files import BODY, NAME, PARTITION, shown
from gex_pipeline_tests.live_days import at
from gex_pipeline_tests.processes import child


def moment(text: str) -> int:
    """Return a moment in New York as epoch milliseconds."""
    return int(at(text).timestamp() * 1000)


# The Wednesday after the Friday of PARTITION.
NOW = moment("2025-11-19 12:00:00")


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gexbot_api, "TURN_SECONDS", 0.0)


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_the_api_gives_a_url_that_downloads(host: GexBotStandIn, settings: Settings, scheme: str) -> None:
    chosen = settings.model_copy(update={"gexbot_auth_scheme": scheme})
    url = ask_api(chosen, PARTITION, NOW)
    assert host.requests[0].path == "/v2/hist/NQ_NDX/classic/gex_zero/2025-11-14"
    assert download(settings, PARTITION, url, lambda *_: None).path.read_bytes() == BODY


def test_the_api_is_not_asked_without_a_key(host: GexBotStandIn, tmp_path: Path) -> None:
    keyless = load_settings(data_dir=tmp_path / "data", gexbot_api_url=f"{host.base_url}/v2")
    with pytest.raises(SourceUnavailableError, match="GEXBOT_API_KEY"):
        ask_api(keyless, PARTITION, NOW)
    assert host.requests == []


def test_a_key_that_the_api_refuses_is_a_permanent_failure_that_does_not_show_it(
    host: GexBotStandIn, tmp_path: Path
) -> None:
    wrong = load_settings(
        data_dir=tmp_path / "data", gexbot_api_url=f"{host.base_url}/v2", gexbot_api_key="SECRET-KEY"
    )
    with pytest.raises(SourceUnavailableError, match="GexBot refuses the key") as refused:
        ask_api(wrong, PARTITION, NOW)
    assert refused.value.details == {"reason": "key refused", "status": 401}
    assert "SECRET-KEY" not in shown(refused.value)


@pytest.mark.usefixtures("no_pause")
def test_a_refusal_that_may_be_a_throttle_says_both_and_is_worth_another_attempt(
    host: GexBotStandIn, settings: Settings
) -> None:
    host.not_entitled.add("NQ_NDX")
    with pytest.raises(
        DownloadInterruptedError, match="may not have NQ_NDX:gex_zero, or it was asked too"
    ) as refused:
        ask_api(settings, PARTITION, NOW)
    assert refused.value.details == {"reason": "denied or throttled", "status": 403}
    host.not_entitled.clear()
    assert ask_api(settings, PARTITION, NOW).startswith(host.base_url)


@pytest.mark.parametrize(
    ("now", "reason", "text"),
    [
        ("2025-11-14 12:00:00", "not published yet", "the session closes at 16:00 New York"),
        ("2025-11-14 21:00:00", "not published yet", "the session closed at 16:00 New York"),
        ("2025-11-15 11:59:59", "not published yet", "the session closed at 16:00 New York"),
        ("2025-11-15 12:00:00", "no such day", "GexBot has no such day of this feed"),
        ("2026-02-12 12:00:00", "no such day", "GexBot has no such day of this feed"),
    ],
)
def test_a_day_that_is_not_there_is_not_there_yet_or_not_at_all(
    host: GexBotStandIn, settings: Settings, now: str, reason: str, text: str
) -> None:
    (host.directory / NAME).unlink()
    with pytest.raises(SourceUnavailableError, match=text) as refused:
        ask_api(settings, PARTITION, moment(now))
    assert refused.value.details == {"reason": reason, "status": 404}


def test_a_half_day_closes_at_one() -> None:
    assert may_be_published_later(dt.date(2025, 11, 28), moment("2025-11-28 13:00:00"))


def test_a_day_that_gexbot_no_longer_keeps_is_not_asked_for(host: GexBotStandIn, settings: Settings) -> None:
    assert ask_api(settings, PARTITION, moment("2026-02-12 23:59:59"))
    with pytest.raises(SourceUnavailableError, match="90 days and 2025-11-14 is older, so it was not asked") as told:
        ask_api(settings, PARTITION, moment("2026-02-13 00:00:00"))
    assert told.value.details == {"reason": "expired"}
    assert len(host.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (429, DownloadInterruptedError, "throttled"),
        (500, DownloadInterruptedError, "unavailable"),
        (503, DownloadInterruptedError, "unavailable"),
        (302, SourceUnavailableError, "unavailable"),
        (418, SourceUnavailableError, "unavailable"),
    ],
)
def test_what_passes_is_told_from_what_does_not(
    settings: Settings, status: int, kind: type[GexError], reason: str
) -> None:
    head = b"HTTP/1.1 %d Odd\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status
    with answering_once(head) as port, pytest.raises(kind, match=str(status)) as refused:
        ask_api(settings.model_copy(update={"gexbot_api_url": f"http://127.0.0.1:{port}/v2"}), PARTITION, NOW)
    assert refused.value.details == {"reason": reason, "status": status}


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"null", b"<html>", b""])
def test_an_api_answer_without_a_url_is_worth_another_attempt(settings: Settings, answer: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(answer)
    with answering_once(head + answer) as port, pytest.raises(DownloadInterruptedError) as odd:
        ask_api(settings.model_copy(update={"gexbot_api_url": f"http://127.0.0.1:{port}/v2"}), PARTITION, NOW)
    assert odd.value.details == {"reason": "unavailable"}


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


# Turns


def test_two_processes_ask_a_second_apart(files: Path, settings: Settings) -> None:
    ask = (
        "from gex_pipeline.history.gexbot_api import take_turn; from pathlib import Path\n"
        "print('ready', flush=True); sys.stdin.readline(); print(take_turn(Path(sys.argv[1])), flush=True)"
    )
    with GexBotStandIn(files, rate_limit=True) as throttled, child(ask, settings.source_dir) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        asking = settings.model_copy(update={"gexbot_api_url": f"{throttled.base_url}/v2"})
        started = time.monotonic()
        ask_api(asking, PARTITION, NOW)
        other.stdin.write("\n")
        other.stdin.flush()
        assert 0.5 < float(other.stdout.readline()) <= 1.05
        ask_api(asking, PARTITION, NOW)
        assert time.monotonic() - started >= 2.1
        assert [request.status for request in throttled.requests] == [200, 200]


def test_turns_are_given_in_the_order_of_arrival_and_nobody_waits_longer_than_needed(tmp_path: Path) -> None:
    started = time.time()
    turns = [time.time() + take_turn(tmp_path) - started for _ in range(5)]
    assert turns == pytest.approx([0, 1.05, 2.1, 3.15, 4.2], abs=0.04)


def test_after_a_pause_nobody_waits(tmp_path: Path) -> None:
    take_turn(tmp_path)
    take_turn(tmp_path)
    (tmp_path / ".api.turn").write_text(f"{time.time() - 9!r} {time.time() - 8!r}\n")
    assert take_turn(tmp_path) == 0


# The last was left in the year 2100.
@pytest.mark.parametrize("left_behind", ["", "nonsense", "4102444800.0 4102444801.0\n"])
def test_neither_a_clock_that_was_set_back_nor_a_torn_file_holds_anybody_up(tmp_path: Path, left_behind: str) -> None:
    (tmp_path / ".api.turn").write_text(left_behind)
    assert take_turn(tmp_path) == 0
    assert 0 < take_turn(tmp_path) <= 1.05
