"""The documents and the code name the same things."""

import argparse
import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from gex_pipeline.alerts.__main__ import parser as alerts_parser
from gex_pipeline.alerts.conditions import CONDITIONS
from gex_pipeline.audit import assets as audit
from gex_pipeline.cli import app as command_line
from gex_pipeline.definitions import defs
from gex_pipeline.history import jobs, judging, schedules, sensors, telling
from gex_pipeline.history.assets import GROUP
from gex_pipeline.history.partitions import PARTITIONS
from gex_pipeline.live.assets import live_tables_sensor
from gex_pipeline.live.judging import MESSAGE_CHECKS
from gex_pipeline.loader.__main__ import parser as loader_parser
from gex_pipeline.poller.__main__ import parser as poller_parser
from gex_pipeline.settings import Settings, variable_names
from gex_pipeline.storage.schema import TABLES
from gex_pipeline.upkeep import failed_runs, nightly_backup, nightly_upkeep
from webhook_gateway.__main__ import parser as gateway_parser
from webhook_gateway.app import ROUTES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _first_column(title: str) -> list[str]:
    rows = re.findall(r"^\| (.+?) \|", _section(title), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_every_setting_is_in_the_readme_with_its_old_name_and_none_besides() -> None:
    documented = set(re.findall(r"`([A-Z][A-Z_]+)`", "\n".join(_section("Settings").splitlines()[3:])))
    assert documented == {name for names in variable_names().values() for name in names}


def test_every_setting_has_variables() -> None:
    assert set(variable_names()) == set(Settings.model_fields)


def test_the_example_environment_lists_every_variable_and_sets_none() -> None:
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    assert all(line.endswith("=") for line in lines)
    assert {line.rstrip("=") for line in lines} == {name for names in variable_names().values() for name in names}


def test_every_route_is_in_the_readme_and_none_besides() -> None:
    routes = [route for module in ROUTES for route in module.router.routes if isinstance(route, APIRoute)]
    served = {f"{method} {route.path}" for route in routes for method in route.methods or ()}
    assert set(_first_column("HTTP")) == served


def test_every_asset_check_job_schedule_and_sensor_is_in_the_readme() -> None:
    named = _section("Dagster")
    assets = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    names = assets | {check.name for check in (*judging.STAGED, *judging.STORED, *judging.PUBLISHED)}
    names |= {jobs.history_import.name, sensors.history_queue_sensor.name, "gex_pipeline.definitions"}
    names |= {schedules.daily_fetch.name, sensors.history_expiry_sensor.name, live_tables_sensor.name}
    names |= {check.name for check in MESSAGE_CHECKS} | {"fresh"}
    names |= {jobs.live_export.name, schedules.session_export.name}
    names |= {failed_runs.failed_runs_sensor.name, telling.tell_operators.name}
    names |= {nightly_upkeep.upkeep.name, nightly_upkeep.nightly_upkeep.name}
    names |= {audit.integrity_audit.name, audit.weekly_audit.name}
    names |= {nightly_backup.database_backup.name, nightly_backup.nightly_backup.name}
    assert {name for name in names if f"`{name}`" not in named} == set()
    known = names | {"date", "feed", r"2025-11-14\|NQ_NDX:gex_zero"}
    assert {name for name in _first_column("Dagster") if name not in known} == set()


def test_the_design_s_names_are_the_code_s() -> None:
    graph = defs.resolve_asset_graph()
    history = {key for key in graph.get_all_asset_keys() if graph.get(key).group_name == GROUP}
    assert GROUP == "history"
    assert {key.to_user_string() for key in history} == {
        "history_file",
        "staged_snapshots",
        "staged_strikes",
        "gex_snapshots",
        "gex_strikes",
        "snapshots_parquet",
        "strikes_parquet",
    }
    assert jobs.history_import.name == "history_import"
    assert sensors.history_queue_sensor.name == "history_queue_sensor"
    assert sensors.history_queue_sensor.default_status.value == "RUNNING"
    assert PARTITIONS.partition_dimension_names == ["date", "feed"]
    assert "gex_pipeline.definitions" in (ROOT / "workspace.yaml").read_text()


def test_every_command_is_in_the_readme() -> None:
    commands = {
        command.name or command.callback.__name__ for command in command_line.registered_commands if command.callback
    }
    for group in command_line.registered_groups:
        instance = group.typer_instance
        assert instance is not None
        commands |= {f"{group.name} {command.name}" for command in instance.registered_commands}
    documented = _section("Command line")
    assert {command for command in commands if f"`gex {command}" not in documented} == set()


@pytest.mark.parametrize(
    "parser",
    [gateway_parser(), loader_parser(), poller_parser(), alerts_parser()],
    ids=lambda parser: parser.prog,
)
def test_every_flag_is_in_the_readme(parser: argparse.ArgumentParser) -> None:
    row = next(line for line in _section("Command line").splitlines() if f"`{parser.prog}`" in line)
    flags = {action.option_strings[-1] for action in parser._actions} - {"--help"}
    assert flags == set(re.findall(r"`(--[a-z-]+)`", row))


def test_every_table_is_in_the_readme() -> None:
    assert {table for table in TABLES if f"`{table}`" not in _section("Where data lives")} == set()


def test_every_alert_is_in_the_table_of_its_page_with_its_delay_and_says_below_what_to_do() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", page, re.MULTILINE)
    delays = {name: each.hold_seconds for name, each in CONDITIONS.items()}
    assert rows == [(name, f"{hold:g} seconds" if hold else "none") for name, hold in delays.items()]
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == list(CONDITIONS)
    assert "(docs/alerts.md)" in README


def test_every_place_the_readme_names_in_the_code_exists() -> None:
    named = re.findall(r"`((?:gex_pipeline|webhook_gateway)/[a-z_/.]*)`", README)
    named += [f"gex_pipeline/{name}" for name in re.findall(r"`((?:storage|formats|history)/[a-z_]+\.py)`", README)]
    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()


FAULTS = (
    "test_capture_faults",
    "test_capture_full_disk",
    "test_database_held",
    "test_fatal_record",
    "test_journal_damage",
    "test_kill",
    "test_sigterm",
)


def test_every_failure_of_capture_names_its_tests_and_every_such_test_its_failure() -> None:
    page = (ROOT / "docs" / "capture.md").read_text()
    rows = [row for row in page.splitlines() if row.startswith("| ") and not row.startswith(("| failure", "| ---"))]
    assert [row for row in rows if row.count(" | ") != 4 or "`test_" not in row.rpartition(" | ")[2]] == []
    sources = {name: (ROOT / "gex_pipeline_tests" / f"{name}.py").read_text() for name in FAULTS}
    found = {
        f"{name}.py::{test}"
        for name in FAULTS
        for test in re.findall(r"^def (test_\w+)", sources[name], re.MULTILINE)
    }
    assert set(re.findall(r"`(test_\w+\.py::test_\w+)`", page)) == found


def test_the_documents_speak_of_no_machine() -> None:
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        assert not re.search(r"/(home|root|Users|work)/", path.read_text()), path
