"""Published files get smaller at night and say the same; what cannot be packed stays as it is."""

import threading

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gex_pipeline.definitions import defs
from gex_pipeline.errors import PermanentError
from gex_pipeline.history.exporting import export_day
from gex_pipeline.history.paths import Table
from gex_pipeline.history.staging import read_summary, staging_lock
from gex_pipeline.upkeep.packing import loose_files, pack
from gex_pipeline_tests.history_import.world import NEXT_DAY, TABLES, ZERO, World
from gex_pipeline_tests.records import record


@pytest.fixture
def imported(world: World) -> World:
    world.import_file(ZERO, world.write(ZERO))
    return world


def contents(world: World) -> dict[Table, tuple[pa.Table, object]]:
    return {
        table: (pq.read_table(path), read_summary(path))
        for table in TABLES
        for path in [ZERO.published(world.settings, table)]
    }


def test_the_nightly_job_makes_files_smaller_and_leaves_their_rows_and_the_staged_files(world: World) -> None:
    world.import_file(ZERO, world.write(ZERO, snapshots=2_000, strikes=70))
    settings, before = world.settings, contents(world)
    paths = [ZERO.published(settings, table) for table in TABLES]
    sizes = [path.stat().st_size for path in paths]
    job = defs.resolve_job_def("upkeep")
    run = job.execute_in_process(instance=world.instance, resources={"settings": settings})
    assert run.success
    assert contents(world) == before
    after = [path.stat().st_size for path in paths]
    assert all(new < 0.8 * old for new, old in zip(after, sizes, strict=True))
    assert all(ZERO.staged(settings, table).samefile(ZERO.published(settings, table)) for table in TABLES)
    observed = world.instance.fetch_observations(dg.AssetKey("strikes_parquet"), limit=1).records[0]
    assert observed.asset_observation is not None
    assert observed.asset_observation.metadata["size_bytes"].value == after[1]
    assert world.run(ZERO, "snapshots_parquet", "strikes_parquet").success
    assert [path.stat().st_size for path in paths] == after, "a packed file holds what the database holds: it stays"
    assert list(loose_files(settings)) == []


def test_a_file_that_an_export_replaces_meanwhile_is_the_export_s(imported: World) -> None:
    settings, path = imported.settings, ZERO.published(imported.settings, "snapshots")
    imported.record_live(record(5_000, ticker="NQ_NDX", endpoint="gex_zero"))
    with staging_lock(settings, ZERO):
        packing = threading.Thread(target=pack, args=(settings, ZERO, "snapshots"))
        packing.start()
        while not list(path.parent.glob(f".{path.name}.*.tmp")):
            pass
        exported = export_day(settings, ZERO, "snapshots")
    packing.join()
    assert (exported.rows, len(pq.read_table(path))) == (201, 201)


def test_what_cannot_be_read_is_told_and_the_other_files_are_packed(imported: World) -> None:
    settings = imported.settings
    imported.import_file(NEXT_DAY, imported.write(NEXT_DAY, snapshots=20))
    damaged = ZERO.published(settings, "strikes")
    content = bytearray(damaged.read_bytes())
    content[4:400] = bytes(396)
    damaged.unlink()
    damaged.write_bytes(content)
    with pytest.raises(PermanentError, match="cannot be read"):
        pack(settings, ZERO, "strikes")
    assert damaged.read_bytes() == content
    run = defs.resolve_job_def("upkeep").execute_in_process(
        instance=imported.instance, resources={"settings": settings}
    )
    assert run.success
    assert list(loose_files(settings)) == [(ZERO, "strikes")]


def test_files_of_others_are_left_alone(imported: World) -> None:
    path = ZERO.published(imported.settings, "snapshots")
    pq.write_table(pq.read_table(path).replace_schema_metadata(), path.with_name("mine"), compression="snappy")
    path.with_name("mine").replace(path)
    assert list(loose_files(imported.settings)) == [(ZERO, "strikes")]
