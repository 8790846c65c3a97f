"""Each state of a day, caused for real."""

import datetime as dt
import json
from pathlib import Path

import duckdb
import pytest

from gex_pipeline.audit.coverage import DayCoverage, find_coverage
from gex_pipeline.audit.verifying import verify_days
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.errors import DownloadInterruptedError, SourceUnavailableError
from gex_pipeline.feeds import Feed
from gex_pipeline.history.attempts import Attempt, record_attempt, record_not_obtained
from gex_pipeline.history.day import TABLES, export_tables
from gex_pipeline.history.gexbot_api import ask_api
from gex_pipeline.history.importing import import_staged
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.trading_days import session_bounds_ms
from gex_pipeline_tests.audit.stored_days import (
    DATES,
    FIRST,
    LAST,
    LATER,
    PARTITION,
    SPOILED,
    copied,
    covered,
    delete,
    publish_anew,
    states,
    unpublish,
)
from gex_pipeline_tests.integrity.days import FEED, import_day, records_of
from gex_pipeline_tests.live_days import at, capture
from gex_pipeline_tests.records import capture_live, stage_records

OPENS_MS, CLOSES_MS = session_bounds_ms(SPOILED)
HOUR_MS = 3_600_000


def spoiled(settings: Settings, now: dt.datetime = LATER) -> DayCoverage:
    """Return the spoiled day, after a look at the others, which must be as they were."""
    found = covered(settings, now=now)
    assert [day.partition.date for day in found.values()] == DATES
    assert [day.state for key, day in found.items() if key != PARTITION.key] == ["complete"] * 4
    return found[PARTITION.key]


def test_days_that_are_well_are_complete_with_their_figures(days: Path) -> None:
    found = covered(load_settings(data_dir=days))
    assert states(found) == ["complete"] * 5
    day = found[PARTITION.key]
    assert day.public() == {
        "feed": "SPX:gex_zero",
        "date": "2025-11-05",
        "state": "complete",
        "snapshots": 390,
        "parquet_snapshots": 390,
        "first": OPENS_MS + 2_000,
        "last": CLOSES_MS - 58_000,
        "detail": "390 snapshots from history, 09:30:02 to 15:59:02",
    }
    stored, published, imported = day.figures.stored, day.figures.published, day.figures.imported
    assert stored
    assert published
    assert imported
    assert (stored.in_session, stored.longest_gap_ms, stored.usual_step_ms) == (390, 60_000, 60_000.0)
    assert (stored.sources, published.strikes, published.problem) == (("history",), 390 * 12, "")
    assert (imported.outcome, imported.snapshots, imported.differing) == ("imported", 390, 0)


def test_a_day_whose_parquet_was_removed_is_never_exported(settings: Settings) -> None:
    unpublish(settings)
    day = spoiled(settings)
    assert day.state == "never_exported"
    assert day.detail == "not in Parquet: 390 snapshots from history, 09:30:02 to 15:59:02"


def test_a_day_without_rows_and_files_is_missing(settings: Settings) -> None:
    delete(settings)
    unpublish(settings)
    day = spoiled(settings)
    assert (day.state, day.figures.snapshots, day.figures.bounds_ms) == ("missing", 0, (None, None))
    assert day.detail == "nothing of this day is stored, its history file is in data/source"


@pytest.mark.parametrize(("days_later", "state"), [(79, "missing"), (80, "about_to_expire"), (90, "about_to_expire")])
def test_a_missing_day_is_about_to_expire_in_the_last_ten_days_of_ninety(
    days: Path, tmp_path: Path, days_later: int, state: str
) -> None:
    settings = copied(days, tmp_path)
    delete(settings)
    unpublish(settings)
    now = dt.datetime.combine(SPOILED, dt.time(12), LATER.tzinfo) + dt.timedelta(days=days_later)
    assert spoiled(settings, now).state == state
    assert spoiled(settings, now + dt.timedelta(days=11)).state == (
        "about_to_expire" if days_later == 79 else "missing"
    )


@pytest.mark.parametrize(("days_later", "state"), [(90, "about_to_expire"), (91, "expired")])
def test_a_missing_day_without_a_file_is_expired_once_gexbot_has_deleted_it(
    settings: Settings, days_later: int, state: str
) -> None:
    delete(settings)
    unpublish(settings)
    PARTITION.source(settings).with_suffix(".json").unlink()
    now = dt.datetime.combine(SPOILED, dt.time(12), LATER.tzinfo) + dt.timedelta(days=days_later)
    day = spoiled(settings, now)
    assert day.state == state
    if state == "expired":
        assert day.detail == "nothing of this day is stored; GexBot no longer keeps its file"


def test_a_day_that_gexbot_never_had_is_never_published_until_it_has_it(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    import_day(load_settings(data_dir=tmp_path / "data"), FIRST, records_of(FIRST))
    now = at("2025-11-10 12:00:00")
    with GexBotStandIn(files) as gexbot:
        settings = load_settings(
            data_dir=tmp_path / "data",
            gexbot_api_key=gexbot.api_key,
            gexbot_api_url=f"{gexbot.base_url}/v2",
            history_hosts=gexbot.host,
        )
        with pytest.raises(SourceUnavailableError):
            ask_api(settings, PARTITION, int(now.timestamp() * 1000))
        found = covered(settings, now=now)
        assert states(found) == ["complete", "missing", "never_published", "missing", "missing"]
        assert found[PARTITION.key].detail == "nothing of this day is stored; GexBot has no such day"
        assert [day.is_well for day in verify_days(settings, list(found.values()), 0)] == [
            True,
            False,
            True,
            False,
            False,
        ]
        (files / f"{SPOILED}_SPX_classic_gex_zero.json").write_text(json.dumps(records_of(SPOILED)))
        ask_api(settings, PARTITION, int(now.timestamp() * 1000))
        assert covered(settings, now=now)[PARTITION.key].state == "missing"


def test_a_missing_day_that_was_never_imported_says_how_long_its_file_is_kept(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    import_day(settings, FIRST, records_of(FIRST))
    found = covered(settings, now=at("2025-12-01 12:00:00"))
    assert states(found) == ["complete", "missing", "missing", "missing", "missing"]
    assert found[PARTITION.key].detail == "nothing of this day is stored; GexBot keeps its file for 64 more days"


def test_a_day_whose_file_was_refused_says_so(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    import_day(settings, FIRST, records_of(FIRST))
    stage_records(settings, *records_of(SPOILED), partition=PARTITION)
    record_attempt(settings, Attempt.of_staged(settings, PARTITION, "run"), "refused", "half of it is bad")
    day = covered(settings, now=at("2025-12-01 12:00:00"))[PARTITION.key]
    assert day.state == "missing"
    assert day.detail == (
        "nothing of this day is stored; the last import was refused: half of it is bad; "
        "GexBot keeps its file for 64 more days"
    )


def test_a_file_that_could_not_be_downloaded_is_told_and_makes_no_feed_older(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    import_day(settings, FIRST, records_of(FIRST))
    for partition in (PARTITION, Partition(FEED, dt.date(2023, 1, 3))):
        record_not_obtained(settings, partition, "run", DownloadInterruptedError("GexBot answered 503"))
    found = covered(settings, now=at("2025-12-01 12:00:00"))
    assert len(found) == len(DATES)
    assert "the last import was failed: GexBot answered 503" in found[PARTITION.key].detail


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (f"timestamp < {OPENS_MS + HOUR_MS}", "begins at 10:30:02"),
        (f"timestamp > {CLOSES_MS - HOUR_MS}", "ends at 14:59:02"),
        (f"timestamp BETWEEN {OPENS_MS + HOUR_MS} AND {OPENS_MS + 2 * HOUR_MS}", "the longest gap is 3,660 s"),
    ],
)
def test_a_day_of_which_a_part_was_recorded_is_partial(tmp_path: Path, condition: str, expected: str) -> None:
    settings = load_settings(data_dir=tmp_path)
    kept = [
        record
        for record in records_of(SPOILED)
        if not eval(  # noqa: S307 - the condition that SQL would be given
            condition.replace("BETWEEN", ">=").replace("AND", "and timestamp <="),
            {"timestamp": record["timestamp"] * 1000},
        )
    ]
    import_day(settings, SPOILED, kept)
    day = covered(settings)[PARTITION.key]
    assert (day.state, day.detail) == ("partial", expected)


def test_a_day_with_half_of_the_usual_snapshots_is_partial(settings: Settings) -> None:
    last = Partition(FEED, LAST)
    with lease(settings.database_path, purpose="alter") as connection:
        first_ms, last_ms = session_bounds_ms(LAST)
        for table in ("snapshots", "strikes"):
            connection.execute(
                f"DELETE FROM gex_{table} WHERE timestamp BETWEEN {first_ms} AND {last_ms} "  # noqa: S608
                "AND (timestamp // 60000) % 2 = 0"
            )
        connection.execute("UPDATE data_lineage SET records_imported = 195 WHERE date = ?", [LAST])
    for table in TABLES:
        last.published(settings, table).unlink()
    list(export_tables(settings, last))
    day = covered(settings)[last.key]
    assert (day.state, day.detail) == ("partial", "30 snapshots per hour, 0.50 times as many as usual")


def test_rows_that_were_imported_and_are_gone_make_a_day_partial(settings: Settings) -> None:
    delete(settings, f"timestamp = {OPENS_MS + 2_000 + HOUR_MS}")
    publish_anew(settings)
    day = spoiled(settings)
    assert (day.state, day.detail) == ("partial", "1 imported snapshots are no longer in the database")


def test_parquet_that_is_behind_the_database_makes_a_day_partial(settings: Settings) -> None:
    capture(settings, f"SPX:gex_zero {SPOILED} 15:59:40")
    day = spoiled(settings)
    assert (day.state, day.detail) == ("partial", "1 snapshots are not in Parquet yet")
    assert day.figures.stored
    assert day.figures.stored.sources == ("history", "live")


def test_rows_that_only_parquet_has_are_a_conflict(settings: Settings) -> None:
    delete(settings, f"timestamp = {OPENS_MS + 2_000 + HOUR_MS}")
    day = spoiled(settings)
    assert day.state == "conflicting"
    assert day.detail.startswith("1 snapshots are in Parquet and not in the database; ")


def test_a_last_snapshot_with_another_time_in_parquet_is_a_conflict(settings: Settings) -> None:
    with lease(settings.database_path, purpose="alter") as connection:
        connection.execute(
            "UPDATE gex_snapshots SET timestamp = timestamp - 1000 WHERE timestamp = ?", [CLOSES_MS - 58_000]
        )
    day = spoiled(settings)
    assert day.state == "conflicting"
    assert "other times of the first or the last snapshot" in day.detail


def test_a_file_that_says_otherwise_is_a_conflict_until_it_replaces(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    records = records_of(SPOILED)
    capture_live(settings, {**records[5], "endpoint": "gex_zero", "spot": 1.0})
    import_day(settings, SPOILED, records)
    day = covered(settings)[PARTITION.key]
    assert day.state == "conflicting"
    assert day.detail == "an imported file says otherwise about 1 snapshots, see data/conflicts"
    import_staged(settings, PARTITION, "run", replace=True)
    list(export_tables(settings, PARTITION))
    assert covered(settings)[PARTITION.key].state == "complete"


@pytest.mark.parametrize("table", TABLES)
def test_a_parquet_file_that_cannot_be_read_makes_a_day_partial(settings: Settings, table: Table) -> None:
    path = PARTITION.published(settings, table)
    path.write_bytes(path.read_bytes()[:-10])
    day = spoiled(settings)
    assert day.state == "partial"
    assert day.detail.startswith(f"{path.name} cannot be read, ")
    path.unlink()
    assert spoiled(settings).detail == f"{path.name} is missing"


def test_a_locked_database_leaves_what_files_say(settings: Settings) -> None:
    unpublish(settings)
    with lease(settings.database_path, purpose="hold it"):
        found = covered(settings, seconds=0.05)
    assert states(found) == ["complete", "complete", "missing", "complete", "complete"]
    assert all("; from files alone, because waited 0.05 s to audit" in day.detail for day in found.values())
    assert [day.figures.snapshots for day in found.values()] == [390, 390, 0, 390, 390]


def test_a_database_that_is_not_there_leaves_what_files_say(settings: Settings) -> None:
    settings.database_path.unlink()
    publish = covered(settings)
    assert states(publish) == ["complete"] * 5
    assert all("; from files alone, because there is no database" in day.detail for day in publish.values())
    assert not settings.database_path.exists()


def test_a_database_that_was_not_adopted_yet_leaves_what_files_say(settings: Settings) -> None:
    settings.database_path.unlink()
    with duckdb.connect(settings.database_path) as connection:
        connection.execute("CREATE TABLE gex_snapshots (timestamp BIGINT, ticker VARCHAR)")
    found = covered(settings)
    assert states(found) == ["complete"] * 5
    assert "lacks columns; start gex up once" in found[PARTITION.key].detail


def test_from_files_alone_a_report_of_conflicts_counts(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    records = records_of(SPOILED)
    capture_live(settings, {**records[5], "endpoint": "gex_zero", "spot": 1.0})
    import_day(settings, SPOILED, records)
    settings.database_path.unlink()
    assert covered(settings)[PARTITION.key].state == "conflicting"


def test_a_feed_begins_with_the_first_day_that_is_known_of_it(settings: Settings) -> None:
    capture(settings, f"NDX:gex_one {DATES[3]} 10:00:00")
    found = covered(settings)
    assert [key for key in found if "NDX" in key] == [f"{date}|NDX:gex_one" for date in DATES[3:]]
    assert [day.state for key, day in found.items() if "NDX" in key] == ["never_exported", "expired"]


def test_a_feed_with_a_first_day_begins_there_and_what_is_stored_before_is_there_too(settings: Settings) -> None:
    capture(settings, f"NDX:gex_one {DATES[1]} 10:00:00")
    wanted = f"NDX:gex_one@{DATES[3]},QQQ:gex_zero@{DATES[4]},SPX:gex_zero@{FIRST - dt.timedelta(days=3)}"
    found = covered(load_settings(data_dir=settings.data_dir, feeds=wanted))
    assert [(day.partition.feed.ticker, day.partition.date) for day in found.values()] == [
        ("NDX", DATES[1]),
        ("NDX", DATES[3]),
        ("NDX", DATES[4]),
        ("QQQ", DATES[4]),
        ("SPX", dt.date(2025, 10, 31)),
        *(("SPX", date) for date in DATES),
    ]


def test_days_are_chosen_and_the_days_before_still_say_what_is_usual(settings: Settings) -> None:
    now_ms = int(LATER.timestamp() * 1000)
    chosen = find_coverage(settings, [FEED], LAST, LAST, now_ms)
    assert [(day.partition.date, day.state) for day in chosen.days] == [(LAST, "complete")]
    assert find_coverage(settings, [Feed("NDX", "gex_one")], None, None, now_ms).days == []


def test_a_day_is_listed_half_an_hour_after_its_close(settings: Settings) -> None:
    today = DATES[-1].isoformat()
    assert len(covered(settings, now=at(f"{today} 16:29:00"))) == 4
    assert len(covered(settings, now=at(f"{today} 16:30:00"))) == 5


def test_a_half_day_that_ends_at_one_is_complete(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    half_day = dt.date(2025, 11, 28)
    import_day(settings, half_day, records_of(half_day))
    now_ms = int(LATER.timestamp() * 1000)
    [day] = find_coverage(settings, (), half_day, half_day, now_ms).days
    assert (day.state, day.detail) == ("complete", "210 snapshots from history, 09:30:02 to 12:59:02")


def test_nothing_is_known_of_an_empty_folder(tmp_path: Path) -> None:
    assert covered(load_settings(data_dir=tmp_path / "data")) == {}
