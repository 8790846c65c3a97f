"""Which files `gex import` takes, of which partition each is, and why one is refused."""

import datetime as dt
import os
from pathlib import Path

import pytest

from gex_pipeline.feeds import HistoryName
from gex_pipeline.history.candidates import find_candidates

NOTHING = HistoryName(None, None, None)
DAY = dt.date(2025, 11, 14)


def found(*paths: Path, given: HistoryName = NOTHING) -> list[tuple[str, str]]:
    """Return name and partition of what is to be imported, in order; nothing may be refused."""
    candidates, refused = find_candidates(paths, given)
    assert refused == []
    return [(candidate.path.name, candidate.partition.key) for candidate in candidates]


def refused(*paths: Path, given: HistoryName = NOTHING) -> list[str]:
    candidates, errors = find_candidates(paths, given)
    assert candidates == []
    return [str(error) for _, error in errors]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize(
    ("name", "partition"),
    [
        ("2025-11-14_NQ_NDX_classic_gex_zero.json", "2025-11-14|NQ_NDX:gex_zero"),
        ("2025-11-14_NQ_NDX_classic_gex_one.json.gz", "2025-11-14|NQ_NDX:gex_one"),
        ("2025-11-14_SPX_classic.json", "2025-11-14|SPX:gex_zero"),
        ("2025-11-14_spx_full.jsonl", "2025-11-14|SPX:gex_full"),
        ("20251114_NQ_NDX_gex_zero_history.json", "2025-11-14|NQ_NDX:gex_zero"),
        ("20251114_BRK.B_gex_zero_history.json.gz", "2025-11-14|BRK.B:gex_zero"),
        ("2025-11-14_SPX_classic_gex_zero.ndjson", "2025-11-14|SPX:gex_zero"),
        ("2025-11-14_SPX_classic_gex_one.ndjson.gz", "2025-11-14|SPX:gex_one"),
        ("2025-11-14_SPX_classic_gex_one.jsonl.gz", "2025-11-14|SPX:gex_one"),
    ],
)
def test_a_name_says_ticker_endpoint_and_day(tmp_path: Path, name: str, partition: str) -> None:
    file = touch(tmp_path / name)
    assert found(file) == found(tmp_path) == [(name, partition)]


def test_what_a_flag_says_wins_over_the_name_and_fills_what_it_leaves_out(tmp_path: Path) -> None:
    named, nameless = touch(tmp_path / "2025-11-14_SPX_classic_gex_zero.json"), touch(tmp_path / "today.json")
    assert found(named, given=HistoryName("NDX", "gex_one", dt.date(2025, 11, 17))) == [
        (named.name, "2025-11-17|NDX:gex_one")
    ]
    assert found(nameless, given=HistoryName("NDX", None, DAY)) == [(nameless.name, "2025-11-14|NDX:gex_zero")]
    assert found(named, given=HistoryName(None, "gex_full", None)) == [(named.name, "2025-11-14|SPX:gex_full")]


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("today.json", "--ticker and --date"),
        ("2025-11-14.json", "--ticker"),
        ("2025-11-14_SPX_classic_gex_zero (1).json", "--ticker"),
        ("2025-11-14_SPX_classic_gex_zero.json.zst", "--ticker"),
        ("2025-11-14_SPX.txt", "--ticker"),
    ],
)
def test_a_name_that_does_not_say_it_is_refused_with_the_flags_to_give(
    tmp_path: Path, name: str, missing: str
) -> None:
    assert refused(touch(tmp_path / name)) == [f"its name does not say what it is of; give {missing}"]


@pytest.mark.parametrize("date", ["2025-11-27", "2025-11-15", "2021-12-31", "2099-11-14"])
def test_a_day_without_trading_is_refused(tmp_path: Path, date: str) -> None:
    [error] = refused(touch(tmp_path / f"{date}_SPX_classic_gex_zero.json"))
    assert error == f"{date} is not an NYSE trading day since 2022-01-03"


def test_folders_are_searched_with_all_theirs_for_the_endings_of_history_files_only(tmp_path: Path) -> None:
    for name in ("2025-11-14_SPX.json", "deep/er/2025-11-17_SPX.json.gz", "deep/2025-11-18_SPX.parquet", "README.md"):
        touch(tmp_path / name)
    (tmp_path / "2025-11-19_SPX.json").mkdir()
    assert [name for name, _ in found(tmp_path)] == ["2025-11-14_SPX.json", "2025-11-17_SPX.json.gz"]


def test_the_order_is_by_day_then_feed_then_path(tmp_path: Path) -> None:
    names = ["a/2025-11-17_NDX.json", "b/2025-11-14_SPX_one.json", "c/2025-11-14_SPX.json", "d/2025-11-14_SPX.json"]
    for name in names:
        touch(tmp_path / name)
    candidates, _ = find_candidates([tmp_path / "d", tmp_path], NOTHING)
    assert [candidate.path.parent.name for candidate in candidates] == ["b", "c", "d", "a"]


def test_a_file_that_is_named_many_times_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = touch(tmp_path / "in" / "2025-11-14_SPX.json")
    (tmp_path / "link").symlink_to("in")
    monkeypatch.chdir(tmp_path)
    ways = [Path("in"), Path("in") / file.name, file, tmp_path / "link" / ".." / "in" / file.name, Path("link")]
    assert len(found(*ways, *ways)) == 1


def test_two_names_of_one_file_are_two_files(tmp_path: Path) -> None:
    file = touch(tmp_path / "2025-11-14_SPX.json")
    (tmp_path / "2025-11-14_SPX_one.json").symlink_to(file.name)
    assert [partition for _, partition in found(tmp_path)] == ["2025-11-14|SPX:gex_one", "2025-11-14|SPX:gex_zero"]


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    hole, pipe = tmp_path / "2025-11-14_SPX.json", tmp_path / "2025-11-17_SPX.json"
    hole.symlink_to("nowhere")
    os.mkfifo(pipe)
    assert refused(tmp_path / "no" / "2025-11-14_SPX.json", hole, pipe) == ["there is no such file"] * 3
    assert found(tmp_path) == []


def test_a_path_that_the_system_refuses_is_refused(tmp_path: Path) -> None:
    [error] = refused(tmp_path / ("x" * 300))
    assert "File name too long" in error
