"""Rows that were captured live and those of a file, in one day: what stays, what is replaced, what is kept."""

import json

import pyarrow.parquet as pq

from gex_pipeline_tests.history_import.world import (
    OPENING,
    TABLES,
    ZERO,
    Row,
    World,
    assert_equal_to_file,
    expected_snapshot,
    expected_strikes,
    failed_checks,
    failure,
    metadata,
    plain,
    retries,
)


def test_live_rows_stay_as_they_were_and_are_counted_as_differing(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=3)
    records = json.loads(path.read_bytes())
    other_spot = records[2] | {"spot": 1.5}
    other_strike = records[3] | {"strikes": [*records[3]["strikes"][:2], [1, 2, 3, [4, 5, 6, 7, 8]]]}
    before_open = records[0] | {"timestamp": OPENING - 1}
    world.record_live(before_open, other_spot, other_strike, records[4])
    live = {table: world.stored(table) for table in TABLES}
    result = world.import_file(ZERO, path)
    assert result.success
    for table in TABLES:
        assert [row for row in world.stored(table) if row["source"] == "live"] == live[table]
    said = metadata(result)["gex_snapshots"]
    assert (said["rows_inserted"], said["rows_present"], said["rows_differing"]) == (17, 3, 2)
    assert said["fields_differing"] == pq.read_metadata(said["conflicts"]).num_rows == 3
    level = records[3]["strikes"][2][0]
    assert said["examples"] == [
        f"2025-11-14T09:30:03-05:00 spot_price: stored 1.5 (live), offered {records[2]['spot']}",
        "2025-11-14T09:30:04-05:00 strike 1.0: only stored (live)",
        f"2025-11-14T09:30:04-05:00 strike {level}: only offered",
    ]
    assert world.query(
        "SELECT records_imported, strikes_imported, records_present, records_differing FROM data_lineage "
        "WHERE record_type = 'history'"
    ) == [(17, 51, 3, 2)]

    merged = [before_open, *records[:2], other_spot, other_strike, *records[4:]]
    path.write_text(json.dumps(merged))
    by_strike = sorted(
        (row for record in merged for row in expected_strikes(record, ZERO)),
        key=lambda row: (row["timestamp"], row["strike"]),
    )
    assert [plain(row, "source", "import_id") for row in world.stored("strikes")] == by_strike
    assert [plain(row, "source") for row in world.published("snapshots")] == [
        expected_snapshot(record, ZERO) for record in merged
    ]
    assert [row["source"] for row in world.published("snapshots")] == [
        "live", "history", "history", "live", "live", "live", *["history"] * 15,
    ]  # fmt: skip
    assert [(row["timestamp"], row["strike"]) for row in world.published("strikes")] == [
        (row["timestamp"], row["strike"]) for row in by_strike
    ]
    assert failed_checks(result) == []


REPLACE: Row = {"ops": {"import_history": {"config": {"replace": True}}}}


def test_rows_are_replaced_by_a_run_that_is_told_to_and_all_its_checks_pass(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=3)
    records = json.loads(path.read_bytes())
    before_open = records[0] | {"timestamp": OPENING - 1}
    world.record_live(before_open, records[2] | {"spot": 1.5}, records[3] | {"strikes": [[1, 2]]}, records[4])
    world.import_file(ZERO, path)
    result = world.run(ZERO, config=REPLACE)
    assert result.success
    assert failed_checks(result) == []
    said = metadata(result)["gex_snapshots"]
    assert said["outcome"] == "imported 2 snapshots and 6 strikes, 2 snapshots instead of stored ones"
    assert (said["rows_inserted"], said["rows_present"], said["rows_differing"], said["rows_replaced"]) == (
        2,
        20,
        2,
        2,
    )
    assert [row["spot_price"] for row in pq.read_table(said["replaced_snapshots"]).to_pylist()].count(1.5) == 1
    assert pq.read_metadata(said["replaced_strikes"]).num_rows == 4
    assert [row["source"] for row in world.stored("snapshots")] == [
        "live",
        *["history"] * 4,
        "live",
        *["history"] * 15,
    ]
    assert world.query("SELECT status, records_replaced, run_id FROM data_lineage WHERE import_id = 3") == [
        ("replaced", 2, result.run_id)
    ]
    path.write_text(json.dumps([before_open, *records]))
    assert_equal_to_file(world, ZERO, path)


def test_a_different_parquet_file_that_is_replaced_is_kept_in_the_backups(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=3)
    world.import_file(ZERO, path)
    old = world.parquet_bytes()
    world.record_live(json.loads(path.read_bytes())[0] | {"timestamp": OPENING + 3600})
    result = world.run(ZERO, "snapshots_parquet", "strikes_parquet")
    assert result.success
    backups = world.settings.backups_dir / "parquet"
    kept = {
        str(each.relative_to(backups).with_suffix("")): each.read_bytes()
        for each in backups.rglob("*")
        if each.is_file()
    }
    assert kept == old
    assert all(metadata(result)[f"{table}_parquet"]["outcome"].startswith("replaced") for table in TABLES)
    assert len(world.published("snapshots")) == 21
    assert world.run(ZERO, "snapshots_parquet", "strikes_parquet").success
    assert len([each for each in backups.rglob("*") if each.is_file()]) == 2


def test_a_parquet_file_is_not_replaced_by_one_with_fewer_rows(world: World) -> None:
    world.import_file(ZERO, world.write(ZERO, snapshots=20, strikes=3))
    old = world.parquet_bytes()
    world.query(f"DELETE FROM gex_snapshots WHERE timestamp = {OPENING * 1000}")  # noqa: S608
    result = world.run(ZERO, "snapshots_parquet", "strikes_parquet")
    assert "has 20 rows and the database only 19: it is not replaced" in failure(result)
    assert retries(result) == 0
    assert world.parquet_bytes() == old
