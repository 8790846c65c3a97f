"""The backup that the job makes before it first writes."""

import dagster as dg
import duckdb

from gex_pipeline.backups.folder import list_backups
from gex_pipeline.history import sensors
from gex_pipeline_tests.history_import.world import ONE, OPENING, ZERO, World


def test_an_import_is_preceded_by_a_backup_when_there_is_none_and_not_by_another(world: World) -> None:
    world.record_live({"timestamp": OPENING, "ticker": "SPX", "spot": 1, "strikes": []})
    for partition in (ZERO, ONE):
        assert world.import_file(partition, world.write(partition)).success
    (backup,) = list_backups(world.settings.database_backups_dir)
    assert backup.manifest.reason == f"before the import of {ZERO.key}"
    assert backup.manifest.tables["gex_snapshots"].rows == 1


def test_nothing_is_imported_when_the_backup_before_it_fails(world: World) -> None:
    world.record_live({"timestamp": OPENING, "ticker": "SPX", "spot": 1, "strikes": []})
    world.settings.backups_dir.mkdir()
    world.settings.database_backups_dir.write_text("in the way")
    result = world.import_file(ZERO, world.write(ZERO))
    assert not result.success
    failure = result.failure_data_for_node("import_history")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "no backup can be kept in" in (failure.user_failure_data.description or "")
    assert world.query("SELECT count(*) FROM gex_snapshots") == [(1,)]
    world.settings.database_backups_dir.unlink()
    assert world.run(ZERO).success


def test_a_user_s_own_file_is_not_touched_before_the_loader_or_an_import_backed_it_up(world: World) -> None:
    world.settings.data_dir.mkdir()
    with duckdb.connect(world.settings.database_path) as connection:
        connection.execute("CREATE TABLE gex_snapshots AS SELECT 1::BIGINT AS timestamp, 'SPX' AS ticker")
    was = world.settings.database_path.read_bytes()
    with dg.build_sensor_context(instance=world.instance, resources={"settings": world.settings}) as context:
        sensors.history_queue_sensor(context)
    assert not world.run(ZERO).success
    assert world.settings.database_path.read_bytes() == was
