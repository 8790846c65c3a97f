"""Bad records, bad files and repeated ones: what is put aside, what is refused, and what is counted."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gex_pipeline.history.run_failures import RunFailure, why_failed
from gex_pipeline_tests.history_import.world import (
    NEXT_DAY,
    ONE,
    OPENING,
    TABLES,
    ZERO,
    Row,
    World,
    assert_equal_to_file,
    changing,
    evaluations,
    failed_checks,
    failure,
    metadata,
    retries,
    spoiling,
)


def test_one_bad_record_in_a_thousand_is_put_aside_and_the_rest_imported(world: World) -> None:
    path = world.write(ZERO, snapshots=1000, strikes=2, damage=spoiling(500))
    result = world.import_file(ZERO, path)
    assert result.success
    assert [row["timestamp"] for row in world.stored("snapshots")] == [
        (OPENING + second) * 1000 for second in range(1000) if second != 500
    ]
    [bad] = world.quarantined()
    assert (bad["position"], bad["reason"]) == (500, "spot: got high, expected a finite number")
    assert json.loads(bad["record"]) == json.loads(path.read_bytes())[500]
    assert metadata(result)["staged_snapshots"]["bad_records"] == 1


def test_one_percent_of_bad_records_fails_the_partition_and_only_it_until_a_corrected_file_comes(
    world: World,
) -> None:
    world.import_file(ONE, world.write(ONE))
    before = [world.stored(table) for table in TABLES], world.parquet_bytes()
    path = world.write(ZERO, damage=spoiling(17, 170))
    result = world.import_file(ZERO, path)
    assert not result.success
    assert ([world.stored(table) for table in TABLES], world.parquet_bytes()) == before
    assert world.query("SELECT status FROM data_lineage ORDER BY import_id") == [("imported",), ("refused",)]
    assert "gex_snapshots" not in metadata(result)

    assert failed_checks(result) == ["staged_snapshots.bad_records"]
    check = evaluations(result)["staged_snapshots.bad_records"]
    assert check.partition == ZERO.key
    assert check.blocking
    said = {name: value.value for name, value in check.metadata.items()}
    assert check.description == (
        "2 of 200 records are bad (1.00%, at most 0.1% may be); most often spot: expected a finite number (2); "
        f"see {said['quarantine']}"
    )
    reason = "spot: got high, expected a finite number"
    assert said["examples"] == [f"record 17: {reason}", f"record 170: {reason}"]
    assert Path(str(said["quarantine"])).is_file()
    records = json.loads(path.read_bytes())
    assert [(bad["position"], bad["reason"], json.loads(bad["record"])) for bad in world.quarantined()] == [
        (position, reason, records[position]) for position in (17, 170)
    ]

    corrected = world.write(ZERO)
    assert world.import_file(ZERO, corrected).success
    assert_equal_to_file(world, ZERO, corrected)
    assert len(world.quarantined()) == 2


def test_what_failed_its_checks_is_not_imported_by_running_the_import_alone(world: World) -> None:
    world.import_file(ZERO, world.write(ZERO, damage=spoiling(17, 170)))
    result = world.run(ZERO, "gex_snapshots", "gex_strikes")
    assert "2 of 200 records are bad" in failure(result)
    assert retries(result) == 0
    assert world.stored("snapshots") == []


def test_why_a_run_failed_is_told_without_its_warnings(world: World) -> None:
    twice = {9: lambda record: record | {"timestamp": OPENING + 8}, 17: lambda record: record | {"spot": "high"}}
    result = world.import_file(ZERO, world.write(ZERO, damage=changing(twice)))
    assert failed_checks(result, dg.AssetCheckSeverity.WARN) == ["staged_snapshots.duplicates"]
    told = "staged_snapshots bad_records: 1 of 200 records are bad (0.50%, at most 0.1% may be)"
    failed = why_failed(world.instance, result.run_id)
    assert failed == RunFailure(failed.error, is_transient=False)
    assert failed.error.startswith(f"{told}; most often spot: expected a finite number (1); see ")
    assert "; staged" not in failed.error


def test_a_failed_check_is_on_record_for_its_partition(world: World) -> None:
    world.import_file(ZERO, world.write(ZERO, damage=spoiling(1)))
    world.import_file(NEXT_DAY, world.write(NEXT_DAY))
    key = dg.AssetCheckKey(dg.AssetKey("staged_snapshots"), "bad_records")
    history = world.instance.event_log_storage.get_asset_check_execution_history(key, limit=2)
    recorded = [each.event.dagster_event.event_specific_data for each in history if each.event]  # type: ignore[union-attr]
    verdicts = [each for each in recorded if isinstance(each, dg.AssetCheckEvaluation)]
    assert {each.partition: each.passed for each in verdicts} == {ZERO.key: False, NEXT_DAY.key: True}


BAD_FILES: dict[str, tuple[list[str], Callable[[list[Row]], Any]]] = {
    "out of order": (["staged_snapshots.timestamps"], lambda records: [*records[1:], records[0]]),
    "of another day": (
        ["staged_snapshots.timestamps"],
        lambda records: [record | {"timestamp": record["timestamp"] + 86_400} for record in records],
    ),
    "with one snapshot of another day": (
        ["staged_snapshots.timestamps"],
        lambda records: [*records, records[-1] | {"timestamp": records[-1]["timestamp"] + 86_400}],
    ),
    "empty": (["staged_snapshots.not_empty"], lambda _: []),
    "of another ticker": (
        ["staged_snapshots.bad_records", "staged_snapshots.not_empty"],
        lambda records: [record | {"ticker": "SPX"} for record in records],
    ),
    "of another endpoint": (
        ["staged_snapshots.bad_records", "staged_snapshots.not_empty"],
        lambda records: [record | {"endpoint": "one"} for record in records],
    ),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_is_wrong_as_a_whole_fails_its_checks_and_nothing_of_it_is_imported(
    world: World, kind: str
) -> None:
    expected, change = BAD_FILES[kind]
    path = world.write(ZERO, snapshots=20, strikes=2)
    path.write_text(json.dumps(change(json.loads(path.read_bytes()))))
    result = world.import_file(ZERO, path)
    assert not result.success
    assert failed_checks(result) == expected
    assert {table: world.stored(table) for table in TABLES} == {"snapshots": [], "strikes": []}
    assert world.parquet_bytes() == {}
    if kind == "of another ticker":
        assert world.quarantined()[0]["reason"] == "ticker: got SPX, expected NQ_NDX"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content[:-200], "ends in the middle of the array; download it again"),
        (lambda content: gzip.compress(content)[:-200], "is not a whole gzip file"),
        (lambda _: b"", "is empty; download it again"),
        (lambda _: b"<html>Forbidden</html>", "a JSON array, JSON lines or an object was expected"),
    ],
    ids=["truncated", "truncated gzip", "no bytes", "a page"],
)
def test_a_file_that_is_no_whole_document_fails_at_once_and_leaves_nothing(
    world: World, change: Callable[[bytes], bytes], said: str
) -> None:
    path = world.write(ZERO, snapshots=20, strikes=2)
    whole = path.read_bytes()
    path.write_bytes(change(whole))
    result = world.import_file(ZERO, path)
    assert said in failure(result)
    assert retries(result) == 0
    assert not any(ZERO.staged(world.settings, table).exists() for table in TABLES)
    assert world.stored("snapshots") == []
    path.write_bytes(whole)
    assert world.import_file(ZERO, path).success
    assert_equal_to_file(world, ZERO, path)


def test_repeated_records_are_counted_and_the_first_stays(world: World) -> None:
    first_again = changing({9: lambda record: record | {"timestamp": OPENING + 8}})
    path = world.write(ZERO, snapshots=20, strikes=2, duplicates=(3, 5), damage=first_again)
    result = world.import_file(ZERO, path)
    assert result.success
    staged = metadata(result)["staged_snapshots"]
    assert (staged["records_in_file"], staged["dagster/partition_row_count"]) == (22, 19)
    assert (staged["duplicates"], staged["duplicates_differing"]) == (3, 1)
    records = {record["timestamp"]: record for record in reversed(json.loads(path.read_bytes()))}
    path.write_text(json.dumps([records[key] for key in sorted(records)]))
    assert_equal_to_file(world, ZERO, path)
