"""Partitions: which days and feeds there are, what is said of those that are not, and both on the command line."""

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import dagster as dg
import pyarrow.parquet as pq
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from gex_pipeline.definitions import defs
from gex_pipeline.demo.sessions import Session, write_history_file
from gex_pipeline.feeds import Feed
from gex_pipeline.history.partitions import FEEDS, PARTITIONS, TRADING_DAYS, explain_unknown
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import load_settings
from gex_pipeline.trading_days import (
    FIRST_DAY,
    closed_weekdays,
    day_bounds_ms,
    is_trading_day,
    new_york_time,
    session_bounds_ms,
)
from gex_pipeline_tests.processes import clean_environment

NEW_YORK = ZoneInfo("America/New_York")
DAY = dt.date(2025, 11, 14)
THANKSGIVING = dt.date(2025, 11, 27)
KEY = "2025-11-14|NQ_NDX:gex_zero"
# Closed besides weekends: New Year, King, Presidents, Good Friday, Memorial, Juneteenth, Independence, Labor,
# Thanksgiving and Christmas days, and the day of mourning of 9 January 2025.
CLOSED_IN_2025 = [
    "2025-01-01", "2025-01-09", "2025-01-20", "2025-02-17", "2025-04-18", "2025-05-26", "2025-06-19", "2025-07-04",
    "2025-09-01", "2025-11-27", "2025-12-25",
]  # fmt: skip


def at(date: dt.date, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(hour, minute), NEW_YORK)


def ms(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def days(now: dt.datetime) -> list[str]:
    return list(TRADING_DAYS.get_partition_keys(current_time=now))


# Trading days


def test_the_days_of_a_year_are_its_weekdays_without_the_holidays_of_the_nyse() -> None:
    all_days = [dt.date(2025, 1, 1) + dt.timedelta(days=day) for day in range(365)]
    closed = [day.isoformat() for day in all_days if day.weekday() < 5 and not is_trading_day(day)]
    assert closed == CLOSED_IN_2025
    assert not any(is_trading_day(day) for day in all_days if day.weekday() >= 5)
    assert [day.isoformat() for day in closed_weekdays() if day.year == 2025] == CLOSED_IN_2025
    expected = [day.isoformat() for day in all_days if is_trading_day(day)]
    assert [day for day in days(at(dt.date(2026, 1, 5), 12)) if day.startswith("2025")] == expected
    assert len(expected) == 250


def test_there_are_no_days_before_the_first_or_far_ahead() -> None:
    assert is_trading_day(FIRST_DAY)
    assert days(at(DAY, 12))[0] == FIRST_DAY.isoformat()
    assert not is_trading_day(dt.date(2021, 12, 31))
    assert not is_trading_day(dt.date(2099, 1, 5))


@pytest.mark.parametrize(
    ("now", "last"),
    [
        (at(DAY, 0, 1), "2025-11-14"),
        (at(DAY, 23, 59), "2025-11-14"),
        (at(dt.date(2025, 11, 15), 12), "2025-11-14"),
        (at(dt.date(2025, 11, 16), 23, 59), "2025-11-14"),
        (at(dt.date(2025, 11, 17), 0, 1), "2025-11-17"),
        (at(THANKSGIVING, 0, 1), "2025-11-26"),
        (at(THANKSGIVING, 23, 59), "2025-11-26"),
        (at(dt.date(2025, 11, 28), 0, 1), "2025-11-28"),
        (at(dt.date(2025, 11, 30), 12), "2025-11-28"),
        (at(dt.date(2026, 7, 3), 12), "2026-07-02"),
        (at(dt.date(2026, 7, 5), 12), "2026-07-02"),
        (at(dt.date(2026, 7, 6), 0, 1), "2026-07-06"),
        (dt.datetime(2025, 11, 14, 4, 59, tzinfo=dt.UTC), "2025-11-13"),
        (dt.datetime(2025, 11, 14, 5, 1, tzinfo=dt.UTC), "2025-11-14"),
    ],
)
def test_a_trading_day_is_a_partition_from_its_first_minute_in_new_york_and_no_other_is(
    now: dt.datetime, last: str
) -> None:
    assert days(now)[-1] == last
    with partition_loading_context(effective_dt=now):
        ahead = [(now + dt.timedelta(days=day)).astimezone(NEW_YORK).date().isoformat() for day in range(5)]
        assert [day for day in ahead if TRADING_DAYS.has_partition_key(day) and day != last] == []
        assert TRADING_DAYS.has_partition_key(last)


def test_a_process_that_runs_for_years_goes_on_with_the_trading_days_of_each() -> None:
    year = dt.datetime.now(NEW_YORK).year
    for later in range(1, 5):
        new_year, christmas = dt.date(year + later, 1, 1), dt.date(year + later, 12, 25)
        known = days(at(dt.date(year + later, 12, 31), 12))
        in_year = [day for day in known if day.startswith(str(year + later))]
        assert 247 <= len(in_year) <= 253
        assert {new_year.isoformat(), christmas.isoformat()}.isdisjoint(in_year)
        assert is_trading_day(dt.date.fromisoformat(in_year[-1]))


def test_today_is_a_partition_when_it_is_a_trading_day() -> None:
    today = dt.datetime.now(NEW_YORK).date()
    assert TRADING_DAYS.has_partition_key(today.isoformat()) == is_trading_day(today)


@pytest.mark.parametrize(
    ("date", "opened", "closed"),
    [
        (DAY, at(DAY, 9, 30), at(DAY, 16)),
        (dt.date(2025, 7, 15), at(dt.date(2025, 7, 15), 9, 30), at(dt.date(2025, 7, 15), 16)),
        (dt.date(2025, 7, 3), at(dt.date(2025, 7, 3), 9, 30), at(dt.date(2025, 7, 3), 13)),
        (dt.date(2025, 11, 28), at(dt.date(2025, 11, 28), 9, 30), at(dt.date(2025, 11, 28), 13)),
        (dt.date(2025, 12, 24), at(dt.date(2025, 12, 24), 9, 30), at(dt.date(2025, 12, 24), 13)),
    ],
)
def test_a_session_has_its_hours_and_a_half_day_closes_at_one(
    date: dt.date, opened: dt.datetime, closed: dt.datetime
) -> None:
    assert session_bounds_ms(date) == (ms(opened), ms(closed))


@pytest.mark.parametrize(("date", "hours"), [(DAY, 24), (dt.date(2025, 3, 9), 23), (dt.date(2025, 11, 2), 25)])
def test_a_day_in_new_york_is_from_midnight_to_midnight_also_when_the_clocks_change(
    date: dt.date, hours: int
) -> None:
    first, last = day_bounds_ms(date)
    assert new_york_time(first) == at(date, 0)
    assert (last + 1 - first) == hours * 3_600_000
    assert day_bounds_ms(date + dt.timedelta(days=1))[0] == last + 1


# Keys


def test_a_partition_is_a_day_and_a_feed() -> None:
    assert [dimension.name for dimension in PARTITIONS.partitions_defs] == ["date", "feed"]
    assert FEEDS.name == "feed"
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("feed", ["NQ_NDX:gex_zero", "SPX:gex_full"])
        keys = PARTITIONS.get_partition_keys(current_time=at(DAY, 12), dynamic_partitions_store=instance)
    assert len(keys) == 2 * len(days(at(DAY, 12)))
    assert {KEY, "2025-11-14|SPX:gex_full", "2022-01-03|SPX:gex_full"} <= set(keys)


def test_a_key_names_its_partition_and_its_files(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    partition = Partition.parse(KEY)
    assert partition == Partition(Feed("NQ_NDX", "gex_zero"), DAY)
    assert partition.key == KEY
    folder = Path("gexbot/NQ_NDX/gex_zero")
    assert partition.source(settings) == tmp_path / "source" / folder / "20251114_NQ_NDX_gex_zero_history"
    assert partition.published(settings, "strikes") == tmp_path / "parquet" / folder / "20251114.strikes.parquet"
    assert partition.published(settings, "snapshots") == tmp_path / "parquet" / folder / "20251114.snapshots.parquet"
    assert partition.staged(settings, "strikes") == tmp_path / "staging" / folder / "20251114.strikes.parquet"


UNKNOWN = {
    "x": "'x' is not a partition key; write it as 2025-11-14|NQ_NDX:gex_zero",
    "2025-11-14": "'2025-11-14' is not a partition key; write it as 2025-11-14|NQ_NDX:gex_zero",
    "2025-11-14|SPX": "'2025-11-14|SPX' is not a partition key; write it as 2025-11-14|NQ_NDX:gex_zero",
    "2025-13-14|SPX:one": "'2025-13-14|SPX:one' is not a partition key; write it as 2025-11-14|NQ_NDX:gex_zero",
    "2021-12-31|SPX:gex_one": "2021-12-31|SPX:gex_one: there are partitions from 2022-01-03 until today",
    "2099-01-05|SPX:gex_one": "2099-01-05|SPX:gex_one: there are partitions from 2022-01-03 until today",
    "2025-11-15|SPX:gex_one": (
        "2025-11-15|SPX:gex_one: 2025-11-15 is not an NYSE trading day, so there is no file for it"
    ),
    "2025-11-27|SPX:gex_one": (
        "2025-11-27|SPX:gex_one: 2025-11-27 is not an NYSE trading day, so there is no file for it"
    ),
    "2025-11-14|spx:one": "2025-11-14|spx:one: did you mean 2025-11-14|SPX:gex_one?",
    "20251114|SPX:gex_one": "20251114|SPX:gex_one: did you mean 2025-11-14|SPX:gex_one?",
    "2025-11-14|SPX:gex_one": (
        "2025-11-14|SPX:gex_one: this Dagster instance does not know the feed SPX:gex_one yet; "
        "run: gex feeds add SPX:gex_one"
    ),
}


@pytest.mark.parametrize("key", UNKNOWN)
def test_a_key_that_does_not_exist_is_answered_with_what_to_do(key: str) -> None:
    assert explain_unknown(key) == UNKNOWN[key]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as running:
        running.add_dynamic_partitions("feed", ["NQ_NDX:gex_zero"])
        yield running


@pytest.mark.parametrize("key", UNKNOWN)
def test_dagster_refuses_a_key_that_does_not_exist_with_the_same_words(
    instance: dg.DagsterInstance, key: str
) -> None:
    job = defs.resolve_job_def("history_import")
    with pytest.raises(click.ClickException) as refused:
        job.execute_in_process(partition_key=key, instance=instance)
    assert refused.value.message == UNKNOWN[key]
    assert instance.get_runs_count() == 0


# The command line


class CommandLine:
    """The installed commands, with a data folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = clean_environment(
            GEX_DATA_DIR=str(folder / "data"),
            DAGSTER_HOME=str(folder / "home"),
            DAGSTER_DISABLE_TELEMETRY="1",
        )

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name(command), *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def materialize(self, key: str) -> subprocess.CompletedProcess[str]:
        selection = ("--select", "key:history_file+", "--partition", key)
        return self.run("dagster", "asset", "materialize", *selection, "-m", "gex_pipeline.definitions")


def test_a_feed_is_made_known_and_then_its_partition_materialized_on_the_command_line(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    added = line.run("gex", "feeds", "add", "NQ_NDX:zero", "spx:full")
    assert added.returncode == 0
    assert added.stdout.splitlines() == [
        "NQ_NDX:gex_zero is known; its partitions are written as 2025-11-14|NQ_NDX:gex_zero",
        "SPX:gex_full is known; its partitions are written as 2025-11-14|SPX:gex_full",
    ]
    listed = line.run("gex", "feeds", "list")
    assert (listed.returncode, listed.stdout.split()) == (0, ["NQ_NDX:gex_zero", "SPX:gex_full"])
    assert (tmp_path / "home" / "dagster.yaml").is_file()

    settings = load_settings(data_dir=tmp_path / "data")
    partition = Partition.parse(KEY)
    place = partition.source(settings)
    place.parent.mkdir(parents=True)
    file = place.with_name(f"{place.name}.json")
    write_history_file(file, Session(feed=partition.feed, date=partition.date, snapshots=20, strikes=3))
    done = line.materialize(KEY)
    assert done.returncode == 0, done.stderr
    published = pq.read_table(partition.published(settings, "snapshots")).to_pylist()
    assert [row["spot_price"] for row in published] == [record["spot"] for record in json.loads(file.read_bytes())]
    assert pq.read_metadata(partition.published(settings, "strikes")).num_rows == 60


def test_the_command_line_refuses_an_unknown_feed_and_says_how_to_make_it_known(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    (tmp_path / "home").mkdir()
    refused = line.materialize("2025-11-14|SPX:gex_one")
    assert refused.returncode != 0
    assert refused.stderr.splitlines()[-1] == f"Error: {UNKNOWN['2025-11-14|SPX:gex_one']}"
    assert "Traceback" not in refused.stdout + refused.stderr
    assert not (tmp_path / "data" / "gex_data.db").exists()


def test_a_feed_that_is_no_feed_is_refused_in_one_line(tmp_path: Path) -> None:
    refused = CommandLine(tmp_path).run("gex", "feeds", "add", "NQ_NDX:gex_zero", "../NDX")
    assert refused.returncode == 2
    assert refused.stderr == "gex: feed: got ../NDX, expected TICKER:endpoint, for example NQ_NDX:gex_zero\n"
    assert not (tmp_path / "home").exists()
