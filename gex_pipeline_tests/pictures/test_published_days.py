"""Published days have their pictures in the metadata, and none where there is nothing to show."""

import datetime as dt
import logging
from pathlib import Path

import dagster as dg
import pytest

from gex_pipeline.history.day import export_tables
from gex_pipeline.history.metadata import describe_exported, describe_verdict
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.pictured import picture_of_day
from gex_pipeline.pictures.day_chart import SPOT, ZERO_GAMMA
from gex_pipeline.pictures.session_strip import MISSING
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.integrity.days import FEED, Found, import_day, records_of, trading_days
from gex_pipeline_tests.pictures.seen import Seen, see

DAY = dt.date(2025, 11, 14)
LONGEST = 30_000


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(data_dir=tmp_path_factory.mktemp("days"), backup_max_age_hours=0)


@pytest.fixture(scope="module")
def well(settings: Settings) -> Found:
    """A whole day, after three more."""
    for date in trading_days(DAY - dt.timedelta(days=7), 3):
        import_day(settings, date, records_of(date, cadence_seconds=120))
    return import_day(settings, DAY, records_of(DAY, cadence_seconds=120))


def pictured(found: Found, check: str) -> Seen:
    value = describe_verdict(found.judged[f"snapshots_parquet.{check}"][1])["picture"]
    assert isinstance(value, dg.MarkdownMetadataValue)
    return see(value.value or "")


@pytest.mark.usefixtures("well")
def test_a_published_day_has_a_small_picture_in_the_metadata_of_its_strikes(settings: Settings) -> None:
    described = dict(describe_exported(*each) for each in export_tables(settings, Partition(FEED, DAY)))
    picture = described["strikes_parquet"]["picture"]
    assert isinstance(picture, dg.MarkdownMetadataValue)
    assert len(picture.value or "") < LONGEST
    seen = see(picture.value or "")
    assert seen.alt == "SPX:gex_zero on 2025-11-14"
    assert {SPOT, ZERO_GAMMA} <= set(seen.paths)
    assert (seen.heat_map[:, 2:, 3].max(axis=0) == 255).all()
    assert "picture" not in described["snapshots_parquet"]


def test_checks_that_pass_have_no_picture(well: Found) -> None:
    assert not well.failed
    assert not [name for name, (_, verdict) in well.judged.items() if verdict.picture]


@pytest.mark.usefixtures("well")
def test_a_gap_is_shown_by_the_check_that_failed_for_it(settings: Settings) -> None:
    date = trading_days(DAY + dt.timedelta(days=1), 1)[0]
    records = records_of(date, cadence_seconds=120)
    found = import_day(settings, date, records[:60] + records[120:])
    assert found.failed == {"snapshots_parquet.gaps"}
    assert pictured(found, "gaps").areas[MISSING].count("M") == 1


@pytest.mark.usefixtures("well")
def test_a_morning_that_is_missing_and_too_few_snapshots_are_shown(settings: Settings) -> None:
    date = trading_days(DAY + dt.timedelta(days=4), 1)[0]
    found = import_day(settings, date, records_of(date, cadence_seconds=240)[30:])
    assert found.failed == {"snapshots_parquet.session", "snapshots_parquet.cadence"}
    assert pictured(found, "session").areas[MISSING].startswith("M10,")
    assert "usual" in pictured(found, "cadence").texts


def test_a_day_without_files_has_no_picture_and_the_reason_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert picture_of_day(load_settings(data_dir=tmp_path), Partition(FEED, DAY)) == ""
    assert "there is no picture of SPX:gex_zero on 2025-11-14" in caplog.text
