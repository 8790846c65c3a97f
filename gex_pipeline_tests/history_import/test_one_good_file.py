"""A good file through the job: equal rows in the database and in Parquet, and what is said of them."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.history.judging import PUBLISHED, STAGED, STORED
from gex_pipeline_tests.history_import.world import (
    DAY,
    NEXT_DAY,
    ONE,
    SNAPSHOTS,
    TABLES,
    ZERO,
    World,
    assert_equal_to_file,
    changing,
    evaluations,
    failed_checks,
    is_of,
    metadata,
)
from gex_pipeline_tests.pictures.seen import see

CHECKS = (*STAGED, *STORED, *PUBLISHED)
OTHER_SHAPES: list[Any] = [
    [100, 1.5],
    [101, 1.5, -2],
    [102, 1.5, -2, None],
    [103, 1.5, -2, []],
    [104.25, 0, -0.5, [1, 2.5, None]],
    {"strike": 105, "gamma_now": 7, "oi_gamma": 8.5, "vanna": 0.25, "history": [1, 2, 3, 4, 5]},
    {"strike": 106.5, "gamma": -7},
]
EXTRA: dict[str, Any] = {
    "net_gex": -1.25,
    "net_gex_vol": 3,
    "net_gex_oi": 4.5,
    "max_change": {"one": [7140, 2.5]},
    "new_field": {"nested": [1, None, "é"]},
}


class Imported(NamedTuple):
    """A file with records of every shape, imported by one run; not to be changed."""

    world: World
    path: Path
    result: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, instance: dg.DagsterInstance) -> Iterator[Imported]:
    folder = tmp_path_factory.mktemp("imported")
    (folder / "gexbot").mkdir()
    with GexBotStandIn(folder / "gexbot") as gexbot:
        world = World(folder, instance, gexbot)
        path = world.write(
            ZERO,
            damage=changing(
                {
                    3: lambda record: record | {"strikes": OTHER_SHAPES},
                    4: lambda record: record | EXTRA,
                    5: lambda record: record | {"max_priors": [1, 2, 3.5], "zero_gamma": None},
                    6: lambda record: {name: value for name, value in record.items() if name != "min_dte"},
                    7: lambda record: record | {"strikes": []},
                    8: lambda record: record | {"strikes": [[25197.21, 1e300, -1e-300, [0.1, 0.2]]]},
                }
            ),
        )
        yield Imported(world, path, world.import_file(ZERO, path))


def test_every_value_of_the_file_is_in_the_database_and_in_parquet(imported: Imported) -> None:
    world, path, result = imported
    assert result.success
    assert_equal_to_file(world, ZERO, path)
    assert len(world.stored("snapshots")) == SNAPSHOTS
    assert {(row["source"], row["import_id"]) for table in TABLES for row in world.stored(table)} == {("history", 1)}
    assert {row["source"] for row in world.published("snapshots")} == {"history"}


def test_a_gzip_file_is_imported_as_a_plain_one(world: World) -> None:
    path = world.write(ZERO)
    path.write_bytes(gzip.compress(path.read_bytes(), 1))
    assert world.import_file(ZERO, path).success
    assert_equal_to_file(world, ZERO, path)


def test_a_day_with_warnings_is_imported_and_they_say_where_to_look(imported: Imported) -> None:
    result = imported.result
    assert result.success
    warned = failed_checks(result, dg.AssetCheckSeverity.WARN)
    assert {"snapshots_parquet.session", "snapshots_parquet.required_fields"} <= set(warned)
    fields = evaluations(result)["snapshots_parquet.required_fields"]
    assert fields.description == (
        "strikes is missing in 1 of 200 (history); zero_gamma is missing in 1 of 200 (history)"
    )
    assert fields.metadata["where"] == dg.MetadataValue.md(
        "| field | source | missing | snapshots |\n| --- | --- | --- | --- |\n"
        "| strikes | history | 1 | 200 |\n| zero_gamma | history | 1 | 200 |"
    )
    warnings = {name for name, check in evaluations(result).items() if check.severity is dg.AssetCheckSeverity.WARN}
    assert warnings == {f"{check.asset}.{check.name}" for check in CHECKS if check.is_warning}


def test_all_checks_pass_for_a_good_file_and_are_of_its_partition(imported: Imported) -> None:
    result = imported.result
    assert {check.partition for check in evaluations(result).values()} == {ZERO.key}
    assert failed_checks(result) == []
    assert sorted(evaluations(result)) == sorted(f"{check.asset}.{check.name}" for check in CHECKS)


def test_each_asset_says_how_much_when_how_long_and_of_which_file(imported: Imported) -> None:
    world, path, result = imported
    said = metadata(result)
    strikes = sum(len(record["strikes"]) for record in json.loads(path.read_bytes()))
    file = ZERO.source(world.settings).with_name("20251114_NQ_NDX_gex_zero_history.json")
    sha256 = file.with_name(f"{file.name}.sha256").read_text().split()[0]
    first, last = "2025-11-14T09:30:01-05:00", "2025-11-14T09:33:20-05:00"
    assert said["history_file"] | {"seconds": 0} == {
        "origin": "announced URL",
        "path": str(file),
        "size_bytes": path.stat().st_size,
        "sha256": sha256,
        "seconds": 0,
    }
    assert said["staged_snapshots"] | {"seconds": 0} == {
        "dagster/partition_row_count": SNAPSHOTS,
        "records_in_file": SNAPSHOTS,
        "bad_records": 0,
        "duplicates": 0,
        "duplicates_differing": 0,
        "sha256": sha256,
        "seconds": 0,
        "first": first,
        "last": last,
    }
    assert said["staged_strikes"]["dagster/partition_row_count"] == strikes
    assert said["gex_snapshots"] | {"lease_seconds": 0} == {
        "rows_inserted": SNAPSHOTS,
        "rows_present": 0,
        "rows_differing": 0,
        "outcome": f"imported 200 snapshots and {strikes:,} strikes",
        "import_id": 1,
        "sha256": sha256,
        "first": first,
        "last": last,
        "lease_seconds": 0,
    }
    assert said["gex_strikes"]["rows_inserted"] == strikes
    for table, rows in (("snapshots", SNAPSHOTS), ("strikes", strikes)):
        published = ZERO.published(world.settings, table)  # type: ignore[arg-type]
        parquet = said[f"{table}_parquet"]
        assert (parquet["dagster/partition_row_count"], parquet["outcome"]) == (rows, "written")
        assert (parquet["path"], parquet["size_bytes"]) == (str(published), published.stat().st_size)
    assert [asset for asset, each in said.items() if "picture" in each] == ["strikes_parquet"]
    assert see(said["strikes_parquet"]["picture"]).alt == f"{ZERO.feed.key} on {ZERO.date}"
    assert all(each.get("seconds", 1) > 0 and each.get("lease_seconds", 1) > 0 for each in said.values())
    assert len(said) == 7


def test_the_lineage_names_the_file_its_checksum_its_counts_and_the_run(imported: Imported) -> None:
    world, path, result = imported
    strikes = sum(len(record["strikes"]) for record in json.loads(path.read_bytes()))
    sha256 = metadata(result)["history_file"]["sha256"]
    [line] = world.query(
        "SELECT import_id, source_file, sha256, record_type, ticker, endpoint, date, records_imported, "
        "strikes_imported, records_present, records_differing, status, errors, run_id FROM data_lineage"
    )
    assert line == (
        1, "20251114_NQ_NDX_gex_zero_history.json", sha256, "history", "NQ_NDX", "gex_zero", DAY, SNAPSHOTS,
        strikes, 0, 0, "imported", None, result.run_id,
    )  # fmt: skip


def test_the_same_file_again_changes_nothing_and_says_so(world: World) -> None:
    path = world.write(ZERO)
    world.import_file(ZERO, path)
    before = [world.stored(table) for table in TABLES], world.parquet_bytes()
    result = world.import_file(ZERO, path)
    assert result.success
    assert ([world.stored(table) for table in TABLES], world.parquet_bytes()) == before
    said = metadata(result)
    assert said["gex_snapshots"]["outcome"] == "unchanged: these bytes are import 1 already"
    assert (said["gex_snapshots"]["rows_inserted"], said["gex_snapshots"]["rows_present"]) == (0, SNAPSHOTS)
    assert [said[f"{table}_parquet"]["outcome"] for table in TABLES] == ["unchanged", "unchanged"]
    assert not (world.settings.backups_dir / "parquet").exists()
    assert world.query("SELECT import_id, status, records_imported FROM data_lineage ORDER BY import_id") == [
        (1, "imported", SNAPSHOTS),
        (2, "unchanged", 0),
    ]
    assert failed_checks(result) == []


def test_another_endpoint_and_another_day_leave_every_other_row_as_it_was(world: World) -> None:
    for number, partition in enumerate((ZERO, ONE, NEXT_DAY)):
        before = {table: world.stored(table) for table in TABLES} if number else {}
        files = world.parquet_bytes()
        path = world.write(partition, seed=number)
        assert world.import_file(partition, path).success
        assert_equal_to_file(world, partition, path)
        for table, rows in before.items():
            assert [row for row in world.stored(table) if not is_of(row, partition)] == rows
        assert files.items() <= world.parquet_bytes().items()
    assert len(world.parquet_bytes()) == 6
    assert world.query("SELECT count(*) FROM gex_snapshots") == [(3 * SNAPSHOTS,)]
