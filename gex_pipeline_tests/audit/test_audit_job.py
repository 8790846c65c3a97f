"""The audit in Dagster: the job, what it records of partitions, and the calendar it shows."""

import base64
from collections.abc import Iterator
from functools import partial
from typing import Any
from xml.etree import ElementTree as ET

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from gex_pipeline.audit import assets
from gex_pipeline.audit.coverage import find_coverage
from gex_pipeline.audit.picture import COLOURS, DAYS_IN_LINE, draw
from gex_pipeline.clock import epoch_ms
from gex_pipeline.definitions import defs
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.audit.stored_days import DATES, FIRST, LAST, PARTITION, SPOILED, delete, unpublish

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as running:
        yield running


def run(instance: dg.DagsterInstance, settings: Settings, **config: Any) -> dg.ExecuteInProcessResult:
    wanted = {"from": FIRST.isoformat(), "to": LAST.isoformat()} | config
    return defs.resolve_job_def("integrity_audit").execute_in_process(
        instance=instance,
        resources={"settings": settings},
        run_config={"ops": {"coverage": {"config": wanted}}},
        raise_on_error=False,
    )


def described(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [event] = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def verdicts(instance: dg.DagsterInstance, asset: str, check: str) -> dict[str | None, bool]:
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    return {
        info.partition_key: info.latest_execution_status is AssetCheckExecutionRecordStatus.SUCCEEDED
        and info.is_current  # or Dagster's pages show the check as missing
        for info in instance.event_log_storage.get_asset_check_partition_info([key])
    }


def colours(picture: str) -> list[str]:
    """Return the fill of each cell but those of the legend, in the order of the picture."""
    cells = [each.attrib for each in ET.fromstring(picture).iter(f"{SVG}rect")]  # noqa: S314
    lowest = max((float(each["y"]) for each in cells), default=0)
    return [each["fill"] for each in cells if float(each["y"]) < lowest]


def test_the_job_shows_a_calendar_and_records_the_verdicts_of_each_partition(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    unpublish(settings)
    result = run(instance, settings, feeds=["SPX:zero"], samples=2)
    assert result.success
    metadata = described(result)
    head, _, encoded = metadata["calendar"].removesuffix(")").partition(";base64,")
    assert head == "![which days are stored](data:image/svg+xml"
    complete, unpublished = COLOURS["complete"], COLOURS["never_exported"]
    assert colours(base64.b64decode(encoded).decode()) == [complete, complete, unpublished, complete, complete]
    assert (metadata["days"], metadata["days_to_look_at"]) == (5, 1)
    assert f"| SPX:gex_zero | {SPOILED} | never_exported | not in Parquet: 390 snapshots" in metadata["not_complete"]
    assert metadata["report"].endswith(".md")
    keys = {f"{date}|SPX:gex_zero" for date in DATES}
    assert verdicts(instance, "gex_snapshots", "matches_file") == dict.fromkeys(keys, True)
    assert verdicts(instance, "strikes_parquet", "totals") == dict.fromkeys(keys - {PARTITION.key}, True)


def test_a_check_that_fails_now_is_recorded_as_failed(instance: dg.DagsterInstance, settings: Settings) -> None:
    delete(settings, tables=["strikes"])
    result = run(instance, settings, **{"from": SPOILED.isoformat(), "to": SPOILED.isoformat()})
    assert result.success
    assert verdicts(instance, "strikes_parquet", "matches_database")[PARTITION.key] is False
    assert "strikes_parquet matches_database" in described(result)["not_complete"]


def test_while_the_database_is_held_the_calendar_is_of_files_alone(
    instance: dg.DagsterInstance, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "find_coverage", partial(find_coverage, lease_timeout_seconds=0.05))
    with lease(settings.database_path, purpose="hold it"):
        metadata = described(run(instance, settings))
    assert "The database could not be looked into" in metadata["summary"]
    assert (metadata["days"], metadata["days_to_look_at"]) == (5, 5)


def test_a_wrong_day_or_feed_fails_with_the_reason(instance: dg.DagsterInstance, settings: Settings) -> None:
    for config, expected in (({"from": "today"}, "a day such as"), ({"feeds": ["SPX"]}, "TICKER:endpoint")):
        [failed] = [each for each in run(instance, settings, **config).all_node_events if each.is_step_failure]
        data = failed.step_failure_data.user_failure_data
        assert data
        assert expected in str(data.description)


def test_it_is_scheduled_on_saturday_mornings_in_new_york_and_runs_by_default() -> None:
    schedule = defs.resolve_schedule_def("weekly_audit")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert schedule.job_name == "integrity_audit"
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * 6", "America/New_York")


def test_without_run_config_it_is_of_the_last_ninety_days(instance: dg.DagsterInstance, settings: Settings) -> None:
    job = defs.resolve_job_def("integrity_audit")
    result = job.execute_in_process(instance=instance, resources={"settings": settings})
    assert result.success
    assert 55 <= described(result)["days"] <= 66


def test_a_long_time_is_drawn_in_several_lines_with_every_day_and_a_legend_with_counts(settings: Settings) -> None:
    days = find_coverage(settings, (), None, None, epoch_ms()).days
    assert len(days) > 2 * DAYS_IN_LINE
    picture = draw(days)
    assert colours(picture) == [COLOURS[day.state] for day in days]
    texts = [each.text for each in ET.fromstring(picture).iter(f"{SVG}text")]  # noqa: S314
    assert texts.count("SPX:gex_zero") == -(-len(days) // DAYS_IN_LINE)
    assert "complete 5" in texts
    assert "Nov 2025" in texts


def test_nothing_can_be_drawn_too() -> None:
    assert colours(draw([])) == []
