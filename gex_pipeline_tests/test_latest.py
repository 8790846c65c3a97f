"""The newest snapshot of each feed: which one is held, and what is found again after a start."""

import json
from pathlib import Path

import pytest
import zstandard

from gex_pipeline.feeds import Feed
from gex_pipeline.journal import Kind, archived_path, encode_record, segment_path
from webhook_gateway import latest as latest_module
from webhook_gateway.latest import AHEAD_MS, Held, LatestSnapshots

SPX, NDX = Feed("SPX", "gex_zero"), Feed("NQ_NDX", "gex_one")
NOW_MS = 1_763_130_602_000


def held(timestamp_ms: int, body: bytes = b"{}") -> Held:
    return Held(timestamp_ms, NOW_MS, "live", body)


def found(latest: LatestSnapshots) -> dict[str, tuple[int, bytes]]:
    return {feed.key: (each.timestamp_ms, each.body) for feed, each in latest.find(None, None)}


def snapshot(seconds: int, ticker: str = "SPX", **fields: object) -> dict[str, object]:
    return {"timestamp": NOW_MS // 1000 + seconds, "ticker": ticker, "spot": 1.5} | fields


def write_segment(journal_dir: Path, segment: int, *records: tuple[Kind, object], is_archived: bool = False) -> None:
    lines = b"".join(
        encode_record(kind, NOW_MS, body if isinstance(body, bytes) else json.dumps(body).encode())
        for kind, body in records
    )
    path = archived_path(journal_dir, segment) if is_archived else segment_path(journal_dir, segment)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zstandard.compress(lines) if is_archived else lines)


def rebuilt(journal_dir: Path) -> dict[str, int]:
    """Return the feeds that are found after a start, each with its snapshot's seconds after NOW_MS."""
    latest = LatestSnapshots()
    latest.rebuild(journal_dir)
    return {key: (timestamp_ms - NOW_MS) // 1000 for key, (timestamp_ms, _) in found(latest).items()}


def test_each_feed_has_its_newest_whatever_the_order_they_come_in() -> None:
    latest = LatestSnapshots()
    for feed, second in ((SPX, 2), (NDX, 1), (SPX, 3), (SPX, 1), (NDX, 0)):
        latest.offer(feed, held(NOW_MS + second, b"%d" % second))
    assert found(latest) == {"NQ_NDX:gex_one": (NOW_MS + 1, b"1"), "SPX:gex_zero": (NOW_MS + 3, b"3")}


def test_of_two_with_the_same_time_the_first_stays() -> None:
    latest = LatestSnapshots()
    latest.offer(SPX, held(NOW_MS, b"first"))
    latest.offer(SPX, held(NOW_MS, b"second"))
    assert found(latest) == {"SPX:gex_zero": (NOW_MS, b"first")}


def test_a_time_far_ahead_does_not_hold_the_place_for_ever() -> None:
    latest = LatestSnapshots()
    latest.offer(SPX, held(NOW_MS + AHEAD_MS + 1, b"wrong clock"))
    assert found(latest) == {}
    latest.offer(SPX, held(NOW_MS + AHEAD_MS, b"tomorrow"))
    assert found(latest) == {"SPX:gex_zero": (NOW_MS + AHEAD_MS, b"tomorrow")}


def test_more_feeds_than_fit_push_out_those_longest_without_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest_module, "HELD_BYTES", 30)
    latest = LatestSnapshots()
    for number in range(3):
        latest.offer(Feed(f"T{number}", "gex_zero"), held(NOW_MS, b"x" * 10))
    latest.offer(Feed("T0", "gex_zero"), held(NOW_MS + 1, b"y" * 10))
    latest.offer(Feed("T3", "gex_zero"), held(NOW_MS, b"x" * 10))
    assert list(found(latest)) == ["T0:gex_zero", "T2:gex_zero", "T3:gex_zero"]


@pytest.mark.parametrize(
    ("ticker", "endpoint", "expected"),
    [
        (None, None, ["NQ_NDX:gex_one", "SPX:gex_full", "SPX:gex_zero"]),
        ("SPX", None, ["SPX:gex_full", "SPX:gex_zero"]),
        (None, "gex_one", ["NQ_NDX:gex_one"]),
        ("SPX", "gex_one", []),
    ],
)
def test_feeds_are_found_by_ticker_endpoint_both_or_neither(
    ticker: str | None, endpoint: str | None, expected: list[str]
) -> None:
    latest = LatestSnapshots()
    for feed in (SPX, NDX, Feed("SPX", "gex_full")):
        latest.offer(feed, held(NOW_MS))
    assert [feed.key for feed, _ in latest.find(ticker, endpoint)] == expected


def test_a_start_finds_the_newest_in_open_and_in_archived_segments(tmp_path: Path) -> None:
    write_segment(tmp_path, 1, ("gex", snapshot(9, "OLD")), ("gex", snapshot(5)), is_archived=True)
    write_segment(tmp_path, 2, ("gex", snapshot(2, "NDX", endpoint="one")), ("gex", snapshot(7)), is_archived=True)
    write_segment(tmp_path, 3, ("uw", ["gex:SPX", {"data": snapshot(8, strikes=[])}]), ("gex", snapshot(6)))
    assert rebuilt(tmp_path) == {"OLD:gex_zero": 9, "NDX:gex_one": 2, "SPX:gex_zero": 8}


def test_a_start_passes_over_everything_that_is_no_snapshot(tmp_path: Path) -> None:
    announcement = {"ticker": "SPX", "endpoint": "gex_zero", "date": "2025-11-14", "url": "https://hist.gex.bot/a"}
    write_segment(
        tmp_path, 1,
        ("uw", ["flow-alerts", {"ticker": "TSLA"}]), ("uw", ["gex:SPY", {"timestamp": "never", "strikes": 5}]),
        ("gex_history_url", announcement), ("gex", snapshot(1)),
    )  # fmt: skip
    with segment_path(tmp_path, 1).open("ab") as file:
        file.write(b"damaged\n" + encode_record("gex", NOW_MS, json.dumps(snapshot(2)).encode())[:-9])
    write_segment(tmp_path, 2, ("gex", snapshot(3, "NDX")), is_archived=True)
    archived_path(tmp_path, 2).write_bytes(b"no archive")
    assert rebuilt(tmp_path) == {"SPX:gex_zero": 1}


def test_a_start_keeps_the_first_of_two_with_the_same_time(tmp_path: Path) -> None:
    write_segment(tmp_path, 1, ("gex", snapshot(1, note="first")), ("gex", snapshot(1, note="second")))
    write_segment(tmp_path, 2, ("gex", snapshot(1, note="third")))
    latest = LatestSnapshots()
    latest.rebuild(tmp_path)
    [(_, body)] = found(latest).values()
    assert json.loads(body)["note"] == "first"


@pytest.mark.parametrize("bound", ["REBUILD_BYTES", "REBUILD_SECONDS"])
def test_a_start_reads_no_more_than_it_may(tmp_path: Path, bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for segment in (1, 2):
        write_segment(tmp_path, segment, ("gex", snapshot(segment, f"T{segment}")))
    monkeypatch.setattr(latest_module, bound, 1e-9)
    assert rebuilt(tmp_path) == {"T2:gex_zero": 2}


def test_without_a_journal_nothing_is_found(tmp_path: Path) -> None:
    assert rebuilt(tmp_path) == {}
