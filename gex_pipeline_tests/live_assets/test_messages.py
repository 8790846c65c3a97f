"""Every damage to messages that the page on integrity names is caught, and days that are well raise no alarm."""

import re
from pathlib import Path
from shutil import copytree

import pytest

from gex_pipeline.history.verdicts import Verdict
from gex_pipeline.live.judging import MESSAGE_CHECKS, judge_messages
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.integrity.test_damaged_days import table
from gex_pipeline_tests.live_assets.messages import (
    DAMAGES,
    DATE,
    DAY_BEFORE,
    HEALTHY,
    apply,
    capture,
    sent_on,
    trades_of,
)

CAUGHT = {kind: re.findall(r"`([^`]+)`", checks) for kind, checks in table("Messages")}


@pytest.fixture(scope="module")
def day_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a whole day, so that there are channels to compare with."""
    folder = tmp_path_factory.mktemp("before")
    capture(load_settings(data_dir=folder), sent_on(DAY_BEFORE, trades_of(DAY_BEFORE)))
    return folder


@pytest.fixture
def settings(day_before: Path, tmp_path: Path) -> Settings:
    copytree(day_before, tmp_path / "data")
    return load_settings(data_dir=tmp_path / "data")


def found_in(settings: Settings) -> dict[str, Verdict]:
    with lease(settings.database_path, purpose="test", read_only=True) as connection:
        return {f"{check.asset}.{check.name}": found for check, found in judge_messages(connection, DATE)}


def test_the_page_and_the_tests_name_the_same_damage_and_the_page_every_check() -> None:
    assert list(CAUGHT) == list(DAMAGES)
    assert {checks[0] for checks in CAUGHT.values()} == {f"{check.asset}.{check.name}" for check in MESSAGE_CHECKS}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_caught_by_the_checks_that_the_page_names(settings: Settings, kind: str) -> None:
    apply(settings, DAMAGES[kind])
    found = found_in(settings)
    assert {name for name, verdict in found.items() if not verdict.passed} == set(CAUGHT[kind])
    assert found[CAUGHT[kind][0]].examples.count("\n") >= 2


@pytest.mark.parametrize("kind", HEALTHY)
def test_days_that_are_well_raise_no_alarm(tmp_path: Path, kind: str) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    capture(settings, [])
    apply(settings, HEALTHY[kind])
    found = found_in(settings)
    assert {name: verdict.description for name, verdict in found.items() if not verdict.passed} == {}


def test_what_is_found_says_where_to_look(settings: Settings) -> None:
    apply(settings, DAMAGES["a trade that cannot be read"])
    found = found_in(settings)["webhooks.typed"]
    assert found.description == "1 of 300 messages with option trades did not become trades"
    assert "price" in found.examples
    assert "2025-11-26 09:30" in found.examples
    assert found.metadata == {"messages": 300, "not_typed": 1}
