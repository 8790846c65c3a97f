"""What is stored is checked again: each damage is caused for real, and one broken day does not end it."""

import datetime as dt
import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow.parquet as pq
import pytest

from gex_pipeline.audit.coverage import find_coverage
from gex_pipeline.audit.report import REPORT_SCHEMA
from gex_pipeline.audit.verifying import VerifiedDay, verify_days
from gex_pipeline.clock import epoch_ms
from gex_pipeline.history.day import TABLES
from gex_pipeline.history.download import SourceFile, find_unrecorded_source
from gex_pipeline.history.importing import import_staged
from gex_pipeline.history.judging import PUBLISHED, STORED
from gex_pipeline.history.staging import stage
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.files import sha256_of
from gex_pipeline.storage.lease import lease
from gex_pipeline.trading_days import session_bounds_ms
from gex_pipeline_tests.audit.stored_days import (
    DATES,
    LAST,
    PARTITION,
    SPOILED,
    alter,
    delete,
    publish_anew,
    unpublish,
)
from gex_pipeline_tests.integrity.days import import_day, records_of
from gex_pipeline_tests.processes import clean_environment, gex, wait_until
from gex_pipeline_tests.records import capture_live

ALL = 1000
AT_MS = session_bounds_ms(SPOILED)[0] + 2_000 + 3_600_000  # 10:30:02
AT = f"WHERE timestamp = {AT_MS}"
OTHER_SPOT = f"UPDATE gex_snapshots SET spot_price = 1 {AT}"  # noqa: S608
RANGE = ("--from", DATES[0].isoformat(), "--to", LAST.isoformat())


def verified(settings: Settings, samples: int = ALL, seconds: float = 5) -> list[VerifiedDay]:
    found = find_coverage(settings, (), None, LAST, epoch_ms(), lease_timeout_seconds=seconds)
    return list(verify_days(settings, found.days, samples))


def spoiled(settings: Settings) -> VerifiedDay:
    """Check the spoiled day alone, every snapshot of it."""
    [found] = verify_days(settings, find_coverage(settings, (), SPOILED, SPOILED, epoch_ms()).days, ALL)
    return found


def failed(found: VerifiedDay) -> set[str]:
    return {f"{check.asset}.{check.name}" for check, _ in found.failed}


def forget_staged(settings: Settings) -> None:
    """Leave nothing but the raw file to compare with, as on a day that was imported long ago."""
    for table in TABLES:
        PARTITION.staged(settings, table).unlink()


def test_days_that_are_well_pass_all_checks_and_every_snapshot_is_as_in_its_file(days: object) -> None:
    found = verified(load_settings(data_dir=days))
    assert [each.is_well for each in found] == [True] * 5
    assert {len(each.judged) for each in found} == {len(STORED) + len(PUBLISHED)}
    assert [each.spots and each.spots.compared for each in found] == [390] * 5
    assert [each.warned for each in found] == [[]] * 5


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE gex_snapshots SET spot_price = spot_price + 0.01", "10:30:02 spot_price: "),
        ("UPDATE gex_snapshots SET min_dte = 7", "10:30:02 min_dte: 7 in "),
        ("UPDATE gex_snapshots SET max_priors = '[[1, 2.0]]'", "10:30:02 max_priors: other JSON in "),
        ("UPDATE gex_strikes SET gamma = -gamma", " gamma: "),
        ("UPDATE gex_strikes SET priors = [1, 2, 3, 4, 5]", " priors: [1.0, 2.0, 3.0, 4.0, 5.0] in "),
        ("UPDATE gex_strikes SET priors = NULL", " priors: None in "),
    ],
)
def test_a_value_that_was_altered_in_the_database_and_in_parquet_is_told_from_the_raw_file(
    settings: Settings, statement: str, expected: str
) -> None:
    alter(settings, f"{statement} {AT}")
    publish_anew(settings)
    forget_staged(settings)
    found = spoiled(settings)
    assert failed(found) == set()  # the checks hold one copy against the other
    assert not found.is_well
    assert found.day.state == "conflicting"
    assert expected in found.differences[0]
    assert all(each.startswith("10:30:02") for each in found.differences)
    places = [each.partition(" in the database")[1] or each.partition(" in Parquet")[1] for each in found.differences]
    assert set(places) == {" in the database", " in Parquet"}
    assert found.differences[0] in found.day.detail


def test_a_snapshot_that_is_gone_from_both_is_told_from_the_raw_file(settings: Settings) -> None:
    delete(settings, f"timestamp = {AT_MS}")
    publish_anew(settings)
    forget_staged(settings)
    assert spoiled(settings).differences == ("10:30:02: not in the database",)


def test_strikes_that_are_gone_from_both_are_told_from_the_raw_file(settings: Settings) -> None:
    delete(settings, f"timestamp = {AT_MS}", ["strikes"])
    publish_anew(settings)
    forget_staged(settings)
    assert spoiled(settings).differences == (
        "10:30:02: 0 rows in the database, 12 in the file",
        "10:30:02: 0 rows in Parquet, 12 in the file",
    )


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (
            lambda settings: alter(settings, OTHER_SPOT),
            {"gex_snapshots.matches_file", "snapshots_parquet.matches_database"},
        ),
        (
            lambda settings: delete(settings, f"timestamp = {AT_MS}", ["strikes"]),
            {"gex_strikes.matches_file", "strikes_parquet.matches_database"},
        ),
    ],
)
def test_the_checks_of_the_import_are_run_again(
    settings: Settings, spoil: Callable[[Settings], None], expected: set[str]
) -> None:
    spoil(settings)
    found = spoiled(settings)
    assert failed(found) == expected
    assert found.day.state == "conflicting"


def test_a_raw_file_that_is_not_what_it_was_is_told(settings: Settings) -> None:
    place = PARTITION.source(settings).with_suffix(".json")
    place.write_bytes(place.read_bytes().replace(b"1", b"2", 1))
    assert spoiled(settings).differences == (f"{place.name} is not what its recorded SHA-256 says",)


def test_without_its_raw_file_a_day_is_well_and_says_that_it_was_not_compared(settings: Settings) -> None:
    PARTITION.source(settings).with_suffix(".json").unlink()
    found = spoiled(settings)
    assert found.is_well
    assert found.spots
    assert (found.spots.compared, found.spots.skipped) == (0, "its history file is not in data/source")


def test_a_raw_file_that_was_not_imported_is_not_compared_with(settings: Settings) -> None:
    place = PARTITION.source(settings).with_suffix(".json")
    place.write_text(json.dumps(records_of(SPOILED, seed=1)))
    find_unrecorded_source(settings, PARTITION)
    found = spoiled(settings)
    assert found.is_well
    assert found.spots
    assert found.spots.skipped == f"{place.name} was not imported"


def test_what_was_captured_before_the_file_came_may_say_otherwise(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = load_settings(data_dir=tmp_path_factory.mktemp("live") / "data")
    records = records_of(SPOILED)
    capture_live(settings, {**records[60], "endpoint": "gex_zero", "spot": 1.0})
    import_day(settings, SPOILED, records)
    find_unrecorded_source(settings, PARTITION)
    found = spoiled(settings)
    assert found.spots
    assert (found.spots.compared, found.spots.differences) == (389, ())


def test_a_gzip_file_and_columns_of_other_types_are_compared_as_they_read_back(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = load_settings(data_dir=tmp_path_factory.mktemp("legacy") / "data")
    alter(
        settings,
        "CREATE TABLE gex_snapshots (timestamp BIGINT, ticker VARCHAR, spot_price FLOAT, max_priors JSON)",
        "CREATE TABLE gex_strikes (timestamp BIGINT, ticker VARCHAR, strike FLOAT, gamma DECIMAL(9, 1), priors JSON)",
    )
    place = PARTITION.source(settings).with_suffix(".json.gz")
    place.parent.mkdir(parents=True)
    place.write_bytes(gzip.compress(json.dumps(records_of(SPOILED)).encode()))
    find_unrecorded_source(settings, PARTITION)
    stage(settings, PARTITION, SourceFile(place, sha256_of(place)))
    import_staged(settings, PARTITION, "run")
    found = spoiled(settings)
    assert found.spots
    assert (found.spots.compared, found.spots.differences) == (390, ())
    alter(settings, f"UPDATE gex_strikes SET gamma = gamma + 0.1 {AT}")  # noqa: S608
    assert len(spoiled(settings).differences) == 12


def test_only_so_many_snapshots_are_compared_and_not_the_same_each_time(settings: Settings) -> None:
    alter(settings, "UPDATE gex_snapshots SET spot_price = spot_price + 1")
    told = [spoiled_samples(settings, 10) for _ in range(2)]
    assert [len(each) for each in told] == [10, 10]
    assert told[0] != told[1]
    assert spoiled_samples(settings, 0) == []


def spoiled_samples(settings: Settings, samples: int) -> Sequence[str]:
    [found] = verify_days(settings, find_coverage(settings, (), SPOILED, SPOILED, epoch_ms()).days, samples)
    return [each for each in found.differences if "in the database" in each]


def test_a_broken_file_does_not_end_it(settings: Settings) -> None:
    path = PARTITION.published(settings, "snapshots")
    path.write_bytes(path.read_bytes()[:2000] + path.read_bytes()[2100:])
    found = verified(settings, samples=2)
    assert [each.is_well for each in found] == [True, True, False, True, True]
    assert "snapshots_parquet.matches_database" in failed(found[2])


def test_a_day_without_parquet_is_still_compared_with_its_file(settings: Settings) -> None:
    unpublish(settings)
    found = spoiled(settings)
    assert (found.day.state, len(found.judged), failed(found)) == ("never_exported", len(STORED), set())
    assert found.spots
    assert found.spots.compared == 390


def test_the_command_is_content_with_days_that_are_well_and_writes_a_report(settings: Settings) -> None:
    ended = gex("verify", *RANGE, "--samples", "3", data_dir=settings.data_dir)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "5 days, 0 to look at; 75 checks, 15 snapshots compared with raw files" in ended.stdout
    [text] = settings.reports_dir.glob("*.md")
    table = pq.read_table(text.with_suffix(".parquet"))
    assert table.schema.equals(REPORT_SCHEMA)
    assert table["date"].to_pylist() == DATES
    assert set(table["state"].to_pylist()) == {"complete"}
    assert table["spots_compared"].to_pylist() == [3] * 5
    assert "What to look at" not in text.read_text()
    assert len(list(settings.reports_dir.iterdir())) == 2


def test_the_command_names_what_is_to_be_looked_at_and_ends_with_1(settings: Settings) -> None:
    alter(settings, OTHER_SPOT)
    later = (LAST + dt.timedelta(days=21)).isoformat()
    ended = gex("verify", *RANGE[:2], "--to", later, "--feed", "SPX:zero", data_dir=settings.data_dir)
    assert ended.returncode == 1
    assert "19 days, 15 to look at" in ended.stdout
    line, after = [line for line in ended.stdout.splitlines() if line.startswith("2025-")]
    assert line.startswith(f"{SPOILED} SPX:gex_zero conflicting: ")
    assert after.startswith("2025-11-10 to 2025-11-28 (14 days) SPX:gex_zero expired: nothing of this day is stored")
    assert "snapshots_parquet matches_database: 390 rows in the Parquet file, 390 in the database, NOT equal" in line
    [text] = settings.reports_dir.glob("*.md")
    assert f"| SPX:gex_zero | {SPOILED} | conflicting | " in text.read_text()
    table = pq.read_table(text.with_suffix(".parquet"))
    assert table.num_rows == 19, "a row for each day"
    row = table.to_pylist()[2]
    assert row["checks_failed"] == ["gex_snapshots.matches_file", "snapshots_parquet.matches_database"]


def test_while_the_database_is_held_the_command_says_so(settings: Settings) -> None:
    with lease(settings.database_path, purpose="hold it"):
        found = verified(settings, seconds=0.05)
    assert [each.error for each in found] == ["the database could not be looked into"] * 5
    assert not any(each.is_well for each in found)


def test_without_a_database_the_command_says_so_and_ends_with_1(settings: Settings) -> None:
    settings.database_path.unlink()
    ended = gex("verify", *RANGE, data_dir=settings.data_dir)
    assert ended.returncode == 1
    assert "The database could not be looked into: there is no database at" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--feed", "SPX"), "gex: feed: got SPX, expected TICKER:endpoint, for example NQ_NDX:gex_zero"),
        (("--feed", "NDX:zero"), "gex: nothing is known of NDX:gex_zero on these days"),
        (("--from", "today"), "gex: --from: got today, expected a day such as 2025-11-14"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_reason(
    settings: Settings, arguments: tuple[str, str], expected: str
) -> None:
    ended = gex("verify", *arguments, data_dir=settings.data_dir)
    assert (ended.returncode, ended.stderr.strip()) == (2, expected)
    assert not settings.reports_dir.exists()


def test_an_interrupt_ends_it_without_a_report(settings: Settings) -> None:
    command = [sys.executable, "-m", "gex_pipeline.cli", "verify", *RANGE, "--samples", "1000"]
    environment = clean_environment(GEX_DATA_DIR=str(settings.data_dir))
    holder = settings.database_path.with_name("gex_data.db.holder")
    holder.write_text("nobody")
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as running:
        wait_until(lambda: "to check 2025" in holder.read_text(), 60)
        running.send_signal(signal.SIGINT)
        told, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (130, "")
    assert told.startswith("interrupted after ")
    assert not settings.reports_dir.exists()
