"""The nightly backup through Dagster."""

from pathlib import Path

import dagster as dg

from gex_pipeline.backups.folder import list_backups
from gex_pipeline.definitions import defs
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import ensure_schema


def run(settings: Settings) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return defs.resolve_job_def("database_backup").execute_in_process(
            instance=instance, resources={"settings": settings}, raise_on_error=False
        )


def fill(settings: Settings) -> None:
    with lease(settings.database_path, purpose="fill") as connection:
        ensure_schema(connection)
        connection.execute("INSERT INTO gex_snapshots (timestamp) VALUES (1)")


def test_the_job_backs_the_database_up_and_says_what_it_did(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    fill(settings)
    result = run(settings)
    assert result.success
    (backup,) = list_backups(settings.database_backups_dir)
    assert backup.manifest.reason == "nightly"
    (output,) = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
    metadata = {name: value.value for name, value in output.step_output_data.metadata.items()}
    assert metadata["path"] == str(backup.path)
    assert (metadata["rows"], metadata["size_bytes"]) == (1, backup.path.stat().st_size)


def test_a_night_without_a_database_is_no_failure(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    assert run(settings).success
    assert not settings.backups_dir.exists()


def test_it_is_scheduled_every_evening_in_new_york_and_runs_by_default() -> None:
    schedule = defs.resolve_schedule_def("nightly_backup")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert schedule.job_name == "database_backup"
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 20 * * *", "America/New_York")
