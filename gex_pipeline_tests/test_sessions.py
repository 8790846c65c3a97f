"""Generated sessions: what GexBot's snapshots look like, at the times and in the layouts a test asks for."""

import dataclasses
import datetime as dt
import gzip
import itertools
import json
import math
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gex_pipeline.demo.sessions import Layout, Session, snapshots, write_history_file
from gex_pipeline.feeds import Feed

NEW_YORK = ZoneInfo("America/New_York")
DAY = dt.date(2025, 11, 14)
SMALL = Session(feed=Feed("SPX", "gex_zero"), date=DAY, snapshots=40, strikes=6)
HOUR = dataclasses.replace(SMALL, snapshots=3_600)


def generated(session: Session) -> list[dict[str, Any]]:
    return list(snapshots(session))


def seconds(session: Session) -> list[int]:
    return [snapshot["timestamp"] for snapshot in generated(session)]


def at(hour: int, minute: int, second: int) -> int:
    return int(dt.datetime.combine(DAY, dt.time(hour, minute, second), NEW_YORK).timestamp())


def test_a_snapshot_has_the_fields_of_a_gexbot_snapshot() -> None:
    snapshot = generated(SMALL)[-1]
    assert list(snapshot) == [
        "timestamp", "ticker", "min_dte", "sec_min_dte", "spot", "zero_gamma", "major_pos_vol", "major_pos_oi",
        "major_neg_vol", "major_neg_oi", "strikes", "sum_gex_vol", "sum_gex_oi", "delta_risk_reversal", "max_priors",
    ]  # fmt: skip
    assert snapshot["ticker"] == "SPX"
    assert type(snapshot["timestamp"]) is int
    assert [len(row) for row in snapshot["strikes"]] == [4] * 6
    assert [len(row[3]) for row in snapshot["strikes"]] == [5] * 6
    assert [len(pair) for pair in snapshot["max_priors"]] == [2] * 6


def test_only_the_opening_snapshot_has_no_zero_gamma_yet() -> None:
    zero_gammas = [snapshot["zero_gamma"] for snapshot in generated(SMALL)]
    assert zero_gammas[0] == 0
    assert all(zero_gammas[1:])


def test_majors_and_sums_come_from_the_ladder() -> None:
    for snapshot in generated(SMALL):
        by_volume = {strike: gex for strike, gex, _, _ in snapshot["strikes"]}
        by_oi = {strike: gex for strike, _, gex, _ in snapshot["strikes"]}
        assert by_volume[snapshot["major_pos_vol"]] == max(by_volume.values())
        assert by_volume[snapshot["major_neg_vol"]] == min(by_volume.values())
        assert by_oi[snapshot["major_pos_oi"]] == max(by_oi.values())
        assert by_oi[snapshot["major_neg_oi"]] == min(by_oi.values())
        assert snapshot["sum_gex_vol"] == round(math.fsum(by_volume.values()), 3)
        assert snapshot["sum_gex_oi"] == round(math.fsum(by_oi.values()), 3)


def test_priors_are_the_values_of_1_5_10_15_and_30_minutes_ago_or_of_the_opening() -> None:
    session = dataclasses.replace(HOUR, cadence_seconds=1.3, gaps=((900, 45),), snapshots=2_500)
    day = generated(session)
    times = [snapshot["timestamp"] for snapshot in day]
    for index in (0, 30, 200, 930, 1_500, 2_499):
        lagged = [
            max((k for k in range(index) if times[k] <= times[index] - minutes * 60), default=0)
            for minutes in (1, 5, 10, 15, 30)
        ]
        for place, row in enumerate(day[index]["strikes"]):
            assert row[3] == [day[k]["strikes"][place][1] for k in lagged]
        highest = [max(day[k]["strikes"], key=lambda row: row[1])[:2] for k in (index, *lagged)]
        assert day[index]["max_priors"] == highest


def test_strikes_ascend_and_the_spot_moves_but_stays_among_them() -> None:
    spots = set()
    for snapshot in generated(dataclasses.replace(HOUR, strikes=3)):
        ladder = [row[0] for row in snapshot["strikes"]]
        assert ladder == sorted(set(ladder))
        assert ladder[0] <= snapshot["spot"] <= ladder[-1]
        spots.add(snapshot["spot"])
    assert len(spots) > 100


def test_gex_drifts_from_one_snapshot_to_the_next_and_never_leaps() -> None:
    columns = [[row[1] for row in snapshot["strikes"]] for snapshot in generated(HOUR)]
    moves = [
        abs(after - before)
        for earlier, later in itertools.pairwise(columns)
        for before, after in zip(earlier, later, strict=True)
    ]
    assert 0 < max(moves) < 30


@pytest.mark.parametrize(
    ("ticker", "fractional", "expected"),
    [
        ("NQ_NDX", None, True),
        ("ES_SPX", None, True),
        ("SPX", None, False),
        ("SPX", True, True),
        ("NQ_NDX", False, False),
    ],
)
def test_futures_mapped_strikes_carry_a_basis(ticker: str, fractional: bool | None, expected: bool) -> None:
    session = dataclasses.replace(SMALL, feed=Feed(ticker, "gex_zero"), fractional=fractional)
    assert {row[0] % 1 != 0 for row in generated(session)[0]["strikes"]} == {expected}


def test_whole_numbers_are_ints_and_all_others_floats() -> None:
    values = [row[1] for snapshot in generated(HOUR) for row in snapshot["strikes"]]
    assert {type(value) for value in values if value % 1 == 0} == {int}
    assert {type(value) for value in values if value % 1 != 0} == {float}
    assert all(value == round(value, 2) for value in values)


def test_a_whole_day_is_23400_snapshots_and_ends_at_the_close() -> None:
    times = seconds(Session(feed=SMALL.feed, date=DAY, strikes=2))
    assert len(times) == 23_400
    assert (times[0], times[-1]) == (at(9, 30, 1), at(16, 0, 0))


def test_snapshots_after_the_close_are_left_out() -> None:
    assert len(seconds(dataclasses.replace(SMALL, first_at=dt.time(15, 59, 51)))) == 10
    half_day = seconds(dataclasses.replace(SMALL, snapshots=23_400, strikes=2, half_day=True))
    assert (len(half_day), half_day[-1]) == (12_600, at(13, 0, 0))


def test_timestamps_follow_the_cadence_and_jump_at_gaps() -> None:
    session = dataclasses.replace(SMALL, snapshots=8, cadence_seconds=1.5, gaps=((3, 100), (6, 7)))
    times = seconds(session)
    assert times[0] == at(9, 30, 1)
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == [1, 2, 101, 2, 1, 9, 1]


@pytest.mark.parametrize(
    "wrong",
    [{"snapshots": -1}, {"strikes": 1}, {"cadence_seconds": 0.5}, {"seed": -1}, {"gaps": ((3, -100),)}],
    ids=str,
)
def test_a_session_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need "):
        dataclasses.replace(SMALL, **wrong)


@pytest.mark.parametrize("compress", [False, True])
def test_the_same_session_makes_the_same_bytes(tmp_path: Path, compress: bool) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    for path in (first, second):
        write_history_file(path, SMALL, gzip=compress)
    assert first.read_bytes() == second.read_bytes()
    if compress:
        flags_and_time = first.read_bytes()[3:8]
        assert flags_and_time == bytes(5)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"date": dt.date(2025, 11, 13)}, {"feed": Feed("SPX", "gex_full")}], ids=str
)
def test_another_seed_day_or_endpoint_is_another_market(change: dict[str, Any]) -> None:
    other = dataclasses.replace(SMALL, **change)
    assert generated(other)[0]["strikes"] != generated(SMALL)[0]["strikes"]


def test_a_shorter_session_is_the_beginning_of_a_longer_one() -> None:
    assert generated(HOUR)[:40] == generated(SMALL)


@pytest.mark.parametrize("layout", ["array", "lines", "wrapped"])
@pytest.mark.parametrize("compress", [False, True])
def test_each_layout_holds_the_sessions_snapshots(tmp_path: Path, layout: Layout, compress: bool) -> None:
    path = tmp_path / "day.json"
    assert write_history_file(path, SMALL, layout=layout, gzip=compress) == 40
    text = (gzip.decompress(path.read_bytes()) if compress else path.read_bytes()).decode()
    held: list[Any]
    if layout == "lines":
        held = [json.loads(line) for line in text.splitlines()]
    else:
        held = json.loads(text)["data"] if layout == "wrapped" else json.loads(text)
    assert held == generated(SMALL)
    assert " " not in text


def test_duplicates_follow_their_original_byte_for_byte_and_count(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    session = dataclasses.replace(SMALL, duplicates=(0, 17))
    assert write_history_file(path, session, layout="lines") == 42
    lines = path.read_bytes().splitlines()
    assert [k for k, (line, following) in enumerate(itertools.pairwise(lines)) if line == following] == [0, 18]


def test_damage_rewrites_the_record_of_its_index_only(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    write_history_file(path, SMALL, layout="lines", damage=lambda k, record: b"{broken" if k == 5 else record)
    lines = path.read_text().splitlines()
    assert lines[5] == "{broken"
    assert [json.loads(line) for line in lines[:5] + lines[6:]] == generated(SMALL)[:5] + generated(SMALL)[6:]


def test_an_empty_session_is_an_empty_array(tmp_path: Path) -> None:
    path = tmp_path / "day.json"
    assert write_history_file(path, dataclasses.replace(SMALL, snapshots=0)) == 0
    assert path.read_bytes() == b"[]"


def test_a_file_that_could_not_be_finished_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(index: int, record: bytes) -> bytes:
        if index == 3:
            raise RuntimeError("the damage itself failed")
        return record

    with pytest.raises(RuntimeError):
        write_history_file(tmp_path / "day.json", SMALL, damage=fail)
    assert list(tmp_path.iterdir()) == []
