"""Dagster's storage in a PostgreSQL server: everything of ours that reads it finds the same there."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from gex_pipeline.dagster_home import dagster_instance
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.history.reporting import finished_files
from gex_pipeline.settings import load_settings
from gex_pipeline.upkeep.failed_runs import failed_runs_sensor
from gex_pipeline.upkeep.old_runs import delete_run, old_runs
from gex_pipeline_tests.history_import.world import NEXT_DAY, ZERO, World
from gex_pipeline_tests.postgres import PASSWORD, postgres_server
from gex_pipeline_tests.processes import gex
from gex_pipeline_tests.upkeep.messages import messages_of


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    (tmp_path / "gexbot").mkdir()
    with postgres_server() as address, GexBotStandIn(tmp_path / "gexbot") as gexbot:
        for name, value in (("DAGSTER_HOME", ""), ("GEX_DAGSTER_POSTGRES_URL", address)):
            monkeypatch.setenv(name, value)
        with dagster_instance(load_settings(data_dir=tmp_path / "data")) as instance:
            yield World(tmp_path, instance, gexbot)


def test_imports_failures_and_old_runs_are_found_there_and_the_address_nowhere(world: World) -> None:
    def tick(cursor: str | None) -> dg.SensorResult | dg.SkipReason:
        with dg.build_sensor_context(
            instance=world.instance, resources={"settings": watched}, cursor=cursor
        ) as context:
            ticked = failed_runs_sensor(context)
        assert isinstance(ticked, dg.SensorResult | dg.SkipReason)
        return ticked

    watched = world.settings.model_copy(update={"notify_urls": (SecretStr("json://127.0.0.1:1"),)})
    first = tick(None)
    assert isinstance(first, dg.SensorResult)
    world.import_file(ZERO, world.write(ZERO, snapshots=20))
    last, failed = world.run(ZERO).run_id, world.run(NEXT_DAY).run_id
    assert list(finished_files(world.settings, world.instance)) == [ZERO.key]
    told = tick(first.cursor)
    assert isinstance(told, dg.SensorResult)
    assert [each["title"] for run in told.run_requests or [] for each in messages_of(run)] == [
        f"history_import of {NEXT_DAY.key} failed"
    ]
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=100)
    for run_id in old_runs(world.instance, 90, later):
        delete_run(world.instance, run_id)
    assert [run.run_id for run in world.instance.get_runs()] == [last]
    assert failed != last
    assert world.instance.get_materialized_partitions(dg.AssetKey("gex_strikes")) == {ZERO.key}

    home = world.settings.dagster_home_path
    assert not list(home.rglob("*.db"))
    written = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    assert not any(PASSWORD.encode() in content for content in written)
    assert PASSWORD not in world.instance.info_str()


def test_a_command_uses_it_too(world: World) -> None:
    address = load_settings().dagster_postgres_url
    assert address is not None
    (world.settings.data_dir.parent / ".env").write_text(f"GEX_DAGSTER_POSTGRES_URL={address.get_secret_value()}\n")
    assert gex("feeds", "add", "SPX:gex_zero", data_dir=world.settings.data_dir).returncode == 0
    assert world.instance.get_dynamic_partitions("feed") == ["SPX:gex_zero"]
