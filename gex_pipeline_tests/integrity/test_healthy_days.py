"""No check fails on a day that is well, however odd the vendor's ways of saying it are."""

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gex_pipeline.history.day import export_tables
from gex_pipeline.history.judging import PUBLISHED, judge
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import load_settings
from gex_pipeline_tests.integrity.days import FEED, Records, Row, as_json, import_day, records_of, trading_days
from gex_pipeline_tests.records import capture_live

Quirk = Callable[[Records], Records]
# With a half day in each: Independence Day's eve, the day after Thanksgiving, Christmas Eve.
STRETCHES = (dt.date(2025, 6, 23), dt.date(2025, 11, 17), dt.date(2025, 12, 8))
DAYS_EACH = 24


def each(change: Callable[[Row], Row]) -> Quirk:
    return lambda records: [record | change(record) for record in records]


def with_strikes(change: Callable[[list[Any]], object]) -> Quirk:
    return each(lambda record: {"strikes": [change(strike) for strike in record["strikes"]]})


def without(*names: str) -> Callable[[Row], Row]:
    return lambda record: {name: value for name, value in record.items() if name not in names}


def renamed(records: Records) -> Records:
    """Name the spot otherwise and add what other clients send."""
    more = {"net_gex": 1.5, "net_gex_vol": -2, "net_gex_oi": 3.25, "vix": 17, "note": "x"}
    return [without("spot")(record) | {"spot_price": record["spot"]} | more for record in records]


def opening_zeros(records: Records) -> Records:
    names = (
        "zero_gamma",
        "major_pos_vol",
        "major_neg_vol",
        "major_pos_oi",
        "major_neg_oi",
        "sum_gex_vol",
        "sum_gex_oi",
    )
    return [record | dict.fromkeys(names, 0) for record in records[:4]] + records[4:]


def opening_all_zero(records: Records) -> Records:
    zeros = [[strike[0], 0, 0, [0] * 5] for strike in records[0]["strikes"]]
    return [*opening_zeros([records[0] | {"strikes": zeros}]), *records[1:]]


def repeated_after_hours(records: Records) -> Records:
    last = records[-1]
    return records + [last | {"timestamp": last["timestamp"] + 60 * minute} for minute in range(1, 180)]


def yesterdays_before_the_open(records: Records) -> Records:
    first = records[0]
    stale = first | {"spot": first["spot"] - 3, "zero_gamma": 7000}
    return [stale | {"timestamp": first["timestamp"] - 60 * minute} for minute in range(40, 2, -1)] + records


def rounded_late(records: Records) -> Records:
    """Give sums of what the strikes were before they were rounded."""
    random = Random(1)

    def change(record: Row) -> Row:
        errors = [random.uniform(-0.005, 0.005) for _ in record["strikes"]]
        return {name: round(record[name] + sum(errors), 3) for name in ("sum_gex_vol", "sum_gex_oi")}

    return each(change)(records)


def of_a_longer_chain(records: Records) -> Records:
    """Give sums and majors of strikes that are not in the ladder."""
    return each(
        lambda record: {
            "sum_gex_vol": record["sum_gex_vol"] * 1.7 + 100,
            "sum_gex_oi": record["sum_gex_oi"] - 2000,
            "major_pos_oi": record["strikes"][0][0] + 2.5,
        }
    )(records)


def shared_extremes(records: Records) -> Records:
    """Let two strikes have the highest value now and then, and the snapshot name the second."""

    def change(record: Row) -> Row:
        strikes = [list(strike) for strike in record["strikes"]]
        best = max(range(len(strikes)), key=lambda at: strikes[at][1])
        twin = len(strikes) - 1 if best < len(strikes) - 1 else best - 1
        more = strikes[best][1] - strikes[twin][1]
        strikes[twin][1] = strikes[best][1]
        lowest = min(strikes, key=lambda strike: strike[1])[0]
        total = round(record["sum_gex_vol"] + more, 3)
        named = max(strikes[best][0], strikes[twin][0])
        return {"strikes": strikes, "sum_gex_vol": total, "major_pos_vol": named, "major_neg_vol": lowest}

    return [record if index % 3 else record | change(record) for index, record in enumerate(records)]


def narrower(records: Records) -> Records:
    """Leave strikes without any gex out of some ladders, as a far strike comes and goes."""
    return [
        record if index % 7 else record | {"strikes": [*record["strikes"], [record["strikes"][-1][0] + 5, 0, 0, []]]}
        for index, record in enumerate(records)
    ]


QUIRKS: dict[str, Quirk] = {
    "as GexBot gives it": lambda records: records,
    "priors are short": with_strikes(lambda strike: [*strike[:3], strike[3][:2]]),
    "priors are empty": with_strikes(lambda strike: [*strike[:3], []]),
    "strikes without priors": with_strikes(lambda strike: strike[:3]),
    "strikes without open interest": with_strikes(lambda strike: strike[:2]),
    "strikes as objects": with_strikes(
        lambda strike: {"strike": strike[0], "gamma_now": strike[1], "oi_gamma": strike[2], "history": strike[3]}
    ),
    "strikes as objects with vanna": with_strikes(
        lambda strike: {"strike": strike[0], "gamma": strike[1], "oi_gamma": strike[2], "vanna": 0.5}
    ),
    "zeros at the open": opening_zeros,
    "nothing but zeros at the open": opening_all_zero,
    "repeated after hours, with new times": repeated_after_hours,
    "repeated after hours, with the same time": lambda records: records + [records[-1]] * 60,
    "yesterday's before the open": yesterdays_before_the_open,
    "records twice": lambda records: [
        record for record in records for _ in range(1 + (record["timestamp"] % 7 == 0))
    ],
    "other names and more fields": renamed,
    "few fields": lambda records: [
        {name: record[name] for name in ("timestamp", "ticker", "spot", "strikes")} for record in records
    ],
    "max_priors flat": each(lambda record: {"max_priors": record["max_priors"][0]}),
    "max_priors as text, max_change": each(
        lambda record: {"max_priors": as_json(record["max_priors"]), "max_change": {"one": [1, 2]}}
    ),
    "milliseconds": each(lambda record: {"timestamp": record["timestamp"] * 1000 + 37}),
    "ISO times": each(
        lambda record: {"timestamp": dt.datetime.fromtimestamp(record["timestamp"], dt.UTC).isoformat()}
    ),
    "sums rounded late": rounded_late,
    "sums and majors of a longer chain": of_a_longer_chain,
    "extremes shared by two strikes": shared_extremes,
    "a far strike comes and goes": narrower,
    "some missing here and there": lambda records: [record for at, record in enumerate(records) if at % 11],
}


@pytest.mark.parametrize("first", STRETCHES, ids=str)
def test_no_check_fails_on_days_that_are_well(tmp_path: Path, first: dt.date) -> None:
    settings = load_settings(data_dir=tmp_path, backup_max_age_hours=0)
    false_alarms = {}
    compared = 0
    for index, date in enumerate(trading_days(first, DAYS_EACH)):
        quirk = list(QUIRKS)[index % len(QUIRKS)]
        # Strikes of a futures feed have fractions; the vendor went from 23,370 snapshots a day to 17,850.
        cadence = 60.0 if index < DAYS_EACH // 2 else 78.6
        records = QUIRKS[quirk](records_of(date, fractional=index % 3 == 0, cadence_seconds=cadence, seed=index))
        live = records[20:300:5] if index % 4 == 1 else []
        found = import_day(settings, date, records, live=live)
        compared += "times as many" in found.said("snapshots_parquet.cadence")
        if found.failed:
            false_alarms[f"{date} {quirk}"] = {name: found.said(name) for name in found.failed}
    assert false_alarms == {}
    assert compared == DAYS_EACH - 3


def test_no_check_fails_on_a_day_that_was_only_captured_live(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, backup_max_age_hours=0)
    partition = Partition(FEED, STRETCHES[0])
    capture_live(settings, *records_of(partition.date, cadence_seconds=300))
    assert [exported.rows for _, exported in export_tables(settings, partition)] == [78, 78 * 12]
    judged = zip(PUBLISHED, judge(PUBLISHED, settings, partition), strict=True)
    assert {check.name: verdict.description for check, verdict in judged if not verdict.passed} == {}


@pytest.mark.parametrize("cadence", [1.0, 1.31])
def test_no_check_fails_on_a_day_with_as_many_snapshots_as_the_vendor_has(tmp_path: Path, cadence: float) -> None:
    settings = load_settings(data_dir=tmp_path, backup_max_age_hours=0)
    date = dt.date(2026, 7, 15)
    found = import_day(settings, date, records_of(date, strikes=4, cadence_seconds=cadence, gaps=((9_000, 2),)))
    assert {name: found.said(name) for name in found.failed} == {}
    told = r"the longest gap is [234](\.\d+)? s \(12:\d\d:\d\d to 12:\d\d:\d\d\), usual are "
    assert re.match(told, found.said("snapshots_parquet.gaps"))
