"""The code location: every public name is there, it loads without a warning, and cut-off runs are closed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

import gex_pipeline.definitions
from gex_pipeline.dagster_home import prepare_dagster_home
from gex_pipeline.definitions import defs
from gex_pipeline.orphaned_runs import PROCESS_TAG, STARTER_TAG, close_orphaned_runs
from gex_pipeline.process_mark import process_mark
from gex_pipeline.settings import load_settings
from gex_pipeline_tests.processes import clean_environment

ROOT = Path(__file__).parent.parent
# The parents of each asset.
ASSETS = {
    "history_file": set(),
    "staged_snapshots": {"history_file"},
    "staged_strikes": {"history_file"},
    "gex_snapshots": {"staged_snapshots", "staged_strikes"},
    "gex_strikes": {"staged_snapshots", "staged_strikes"},
    "snapshots_parquet": {"gex_snapshots", "gex_strikes", "live_snapshots"},
    "strikes_parquet": {"gex_snapshots", "gex_strikes", "live_strikes"},
}
LIVE_ASSETS: dict[str, set[str]] = {
    "webhooks": set(),
    "option_trades": {"webhooks"},
    "live_snapshots": {"webhooks"},
    "live_strikes": {"webhooks"},
}
# Of each check whether it blocks.
BLOCKING = {
    "gex_snapshots:live_agrees": False,
    "gex_snapshots:matches_file": False,
    "gex_strikes:have_snapshots": False,
    "gex_strikes:matches_file": False,
    "snapshots_parquet:cadence": False,
    "snapshots_parquet:gaps": False,
    "snapshots_parquet:matches_database": False,
    "snapshots_parquet:required_fields": False,
    "snapshots_parquet:session": False,
    "snapshots_parquet:spot": False,
    "snapshots_parquet:zero_gamma": False,
    "staged_snapshots:bad_records": True,
    "staged_snapshots:duplicates": False,
    "staged_snapshots:not_empty": True,
    "staged_snapshots:prices": True,
    "staged_snapshots:schema": True,
    "staged_snapshots:timestamps": True,
    "staged_strikes:have_snapshots": True,
    "staged_strikes:ladders": False,
    "staged_strikes:schema": True,
    "strikes_parquet:ladders": False,
    "strikes_parquet:majors": False,
    "strikes_parquet:matches_database": False,
    "strikes_parquet:totals": False,
}
LIVE_CHECKS = {
    "live_snapshots:fresh",
    "option_trades:contracts",
    "option_trades:ids",
    "option_trades:premiums",
    "option_trades:times",
    "webhooks:channels",
    "webhooks:fresh",
    "webhooks:typed",
}
# What our launcher, and Dagster's own, write on a run when they start the run's process.
LAUNCHED = {STARTER_TAG: f"elsewhere.{process_mark()}"}
LAUNCHED_BY_DAGSTER = {".dagster/grpc_info": '{"host": "localhost", "port": 1}'}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as running:
        yield running


def run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, tags: dict[str, str]) -> str:
    created = instance.create_run_for_job(defs.resolve_job_def("history_import"), status=status, tags=tags)
    return created.run_id


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run_id)
    assert found is not None
    return found.status


# Public names


def test_the_assets_have_their_names_their_group_and_their_order() -> None:
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {*ASSETS, *LIVE_ASSETS, "coverage"}
    for name, parents in ASSETS.items():
        node = graph.get(dg.AssetKey(name))
        assert node.group_name == "history"
        assert {key.to_user_string() for key in node.parent_keys} == parents
        assert isinstance(node.partitions_def, dg.MultiPartitionsDefinition)
        assert [each.name for each in node.partitions_def.partitions_defs] == ["date", "feed"]
        assert node.description


def test_the_checks_have_their_names_and_what_must_not_go_on_is_blocked() -> None:
    graph = defs.resolve_asset_graph()
    checks = {
        f"{key.asset_key.to_user_string()}:{key.name}": graph.get_check_spec(key) for key in graph.asset_check_keys
    }
    assert {name: spec.blocking for name, spec in checks.items()} == BLOCKING | dict.fromkeys(LIVE_CHECKS, False)
    assert all(spec.description for spec in checks.values())
    assert {name for name, spec in checks.items() if spec.partitions_def is None} == LIVE_CHECKS


def test_the_live_tables_are_assets_that_no_run_materializes() -> None:
    graph = defs.resolve_asset_graph()
    for name, parents in LIVE_ASSETS.items():
        node = graph.get(dg.AssetKey(name))
        assert (node.group_name, node.is_materializable, bool(node.description)) == ("live", False, True)
        assert {key.to_user_string() for key in node.parent_keys} == parents
    sensor = defs.resolve_sensor_def("live_tables_sensor")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert not sensor.targets


def test_the_job_imports_the_whole_group_and_checks_it() -> None:
    job = defs.resolve_job_def("history_import")
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == set(ASSETS)
    assert len(job.asset_layer.asset_graph.asset_check_keys) == len(BLOCKING)
    assert job.partitions_def == defs.resolve_asset_graph().get(dg.AssetKey("history_file")).partitions_def


def test_the_sensor_runs_by_default_and_launches_the_job() -> None:
    sensor = defs.resolve_sensor_def("history_queue_sensor")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert [target.job_name for target in sensor.targets] == ["history_import"]
    assert sensor.minimum_interval_seconds == 2


@pytest.mark.parametrize("name", ["history_expiry_sensor", "failed_runs_sensor"])
def test_a_sensor_that_warns_runs_by_default_and_launches_nothing_but_the_telling(name: str) -> None:
    sensor = defs.resolve_sensor_def(name)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert [target.resolvable_to_job for target in sensor.targets] == ["tell_operators"]


def test_the_workspace_file_names_the_code_location() -> None:
    lines = [line.strip(" -") for line in (ROOT / "workspace.yaml").read_text().splitlines()]
    assert lines[:3] == ["load_from:", "python_module:", "module_name: gex_pipeline.definitions"]


def test_the_code_location_is_wiring_only() -> None:
    lines = Path(gex_pipeline.definitions.__file__).read_text().splitlines()
    assert len(lines) < 60
    assert not [line for line in lines if line.startswith(("def ", "class ", "@"))]


def test_the_code_location_loads_without_a_warning_and_without_touching_anything(tmp_path: Path) -> None:
    program = "from gex_pipeline.definitions import defs; defs.get_repository_def().load_all_definitions()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_the_settings_are_read_when_a_run_needs_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEX_DATA_DIR", str(tmp_path / "elsewhere"))
    resources = defs.resources
    assert resources is not None
    with dg.build_resources({"settings": resources["settings"]}) as built:
        assert built.settings.data_dir == tmp_path / "elsewhere"


# Runs that were cut off


@pytest.mark.parametrize("launched", [LAUNCHED, LAUNCHED_BY_DAGSTER])
@pytest.mark.parametrize(
    "cut_off", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
)
def test_a_launched_run_that_was_cut_off_is_reported_as_failed(
    instance: dg.DagsterInstance, cut_off: dg.DagsterRunStatus, launched: dict[str, str]
) -> None:
    run_id = run(instance, cut_off, launched)
    assert close_orphaned_runs(instance) == [run_id]
    assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE
    messages = [entry.dagster_event.message for entry in instance.all_logs(run_id) if entry.dagster_event]
    assert "The run was cut off when the system stopped." in messages
    assert close_orphaned_runs(instance) == []


def test_runs_that_ended_or_never_started_or_were_started_by_hand_or_are_at_work_are_left_alone(
    instance: dg.DagsterInstance,
) -> None:
    statuses = dg.DagsterRunStatus
    others = [
        (statuses.NOT_STARTED, LAUNCHED),
        (statuses.SUCCESS, LAUNCHED),
        (statuses.FAILURE, LAUNCHED),
        (statuses.CANCELED, LAUNCHED),
        (statuses.STARTED, {}),
        (statuses.STARTED, LAUNCHED | {PROCESS_TAG: process_mark()}),
        (statuses.STARTING, {}),
    ]
    runs = {run(instance, each, tags): each for each, tags in others}
    assert close_orphaned_runs(instance) == []
    assert {run_id: status(instance, run_id) for run_id in runs} == runs


def test_starting_anew_closes_what_an_earlier_start_left(tmp_path: Path) -> None:
    home = prepare_dagster_home(load_settings(data_dir=tmp_path))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run_id = run(instance, dg.DagsterRunStatus.STARTED, LAUNCHED)
    done = subprocess.run(
        [sys.executable, "-m", "gex_pipeline.orphaned_runs"],
        cwd=tmp_path,
        env=clean_environment(DAGSTER_HOME=str(home)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"run {run_id} was cut off when the system stopped; it is reported as failed\n"
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE
