"""Every kind of damage that the page on integrity names is caught, or not, as the page says."""

import re
from pathlib import Path
from shutil import copytree

import pytest

from gex_pipeline.history.judging import PUBLISHED, STAGED, STORED
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.integrity.damages import DAMAGES, DATE, UNSEEN, Damage
from gex_pipeline_tests.integrity.days import Found, import_day, records_of, trading_days

PAGE = (Path(__file__).parents[2] / "docs" / "integrity.md").read_text()


def table(title: str) -> list[list[str]]:
    """Return the cells of the first table under a heading of the page."""
    lines = re.search(r"^\|.*?(?=\n\n|\Z)", PAGE.split(f"\n## {title}\n")[1], re.MULTILINE | re.DOTALL)
    assert lines
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[0].splitlines()[2:]]


CAUGHT = {kind: (re.findall(r"`([^`]+)`", checks), verdict) for kind, checks, verdict in table("What is caught")}
NOT_CAUGHT = [kind for kind, _ in table("What is not caught")]


@pytest.fixture(scope="module")
def days_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the days before, so that there is a cadence to compare with."""
    folder = tmp_path_factory.mktemp("before")
    for date in trading_days(DATE.replace(day=21), 3):
        assert import_day(settings_of(folder), date, records_of(date)).failed == set()
    return folder


@pytest.fixture
def settings(days_before: Path, tmp_path: Path) -> Settings:
    copytree(days_before, tmp_path / "data")
    return settings_of(tmp_path / "data")


def settings_of(folder: Path) -> Settings:
    return load_settings(data_dir=folder, backup_max_age_hours=0)


def found_in(settings: Settings, damage: Damage) -> Found:
    file, live = (change(records_of(damage.date)) for change in (damage.file, damage.live))
    return import_day(settings, damage.date, file, live=live, after=damage.after)


def test_the_page_and_the_tests_name_the_same_damage_and_the_page_every_check() -> None:
    assert list(CAUGHT) == list(DAMAGES)
    assert list(UNSEEN) == NOT_CAUGHT
    meant = {checks[0] for checks, _ in CAUGHT.values()}
    every = {f"{check.asset}.{check.name}" for check in (*STAGED, *STORED, *PUBLISHED)}
    # The columns of strikes are read as those of snapshots are, and the strikes in the database as the staged ones.
    assert every - meant == {
        "staged_strikes.schema",
        "gex_strikes.have_snapshots",
    }


@pytest.mark.parametrize("kind", CAUGHT)
def test_damage_is_caught_by_the_checks_that_are_meant_for_it(settings: Settings, kind: str) -> None:
    checks, verdict = CAUGHT[kind]
    found = found_in(settings, DAMAGES[kind])
    assert found.failed == set(checks)
    meant, what = found.judged[checks[0]]
    assert verdict == ("refused" if found.is_refused else "warning" if meant.is_warning else "error")
    assert meant.is_blocking == (verdict == "refused")
    assert what.description
    assert all(isinstance(value, str | int | float | list) for value in what.metadata.values())


@pytest.mark.parametrize("kind", NOT_CAUGHT)
def test_damage_that_the_page_says_is_not_caught_is_not(settings: Settings, kind: str) -> None:
    assert found_in(settings, UNSEEN[kind]).failed == set()


def test_a_warning_says_where_to_look(settings: Settings) -> None:
    found = found_in(settings, DAMAGES["a spot ten times as high"])
    _, spot = found.judged["snapshots_parquet.spot"]
    assert "2 jump by more than 5%" in spot.description
    assert spot.metadata["jumps"] == 2
    assert spot.examples.splitlines()[0] == "| time | spot_price | previous_spot |"
    assert spot.examples.splitlines()[2].startswith("| 2025-11-26 12:00:02 | ")
