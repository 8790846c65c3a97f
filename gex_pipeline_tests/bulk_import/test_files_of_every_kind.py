"""`gex import` of files of every kind: what it says, and what the database, Parquet and Dagster have after."""

import datetime as dt
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
from dagster._core.definitions.partitions.utils import get_tags_from_multi_partition_key

from gex_pipeline.history.judging import PUBLISHED, STAGED, STORED
from gex_pipeline_tests.bulk_import.command import (
    BAD,
    IMPORTED,
    SNAPSHOTS,
    STRIKES,
    Told,
    assert_whole,
    dagster_of,
    make_files,
    materialized,
    published,
    query,
    verdicts,
)
from gex_pipeline_tests.pictures.seen import see

# What is said


def test_each_file_has_a_line_and_the_summary_counts_them(world: tuple[Path, Told]) -> None:
    _, told = world
    refused = len([line for line in told.lines if line.startswith("refused ")])
    assert (told.code, told.summary) == (1, f"7 imported, 1 skipped, {refused} refused, 0 failed")
    assert len(told.lines) == 8 + refused
    assert told.of("/again/") == "skipped files/again/20251114_NQ_NDX_gex_zero_history.json"
    assert told.of("deeper") == "imported files/nested/deeper/20251117_SPX_gex_zero_history.json.gz"
    assert told.of("/20251114_SPX_gex_full") == (
        "imported data/source/gexbot/SPX/gex_full/20251114_SPX_gex_full_history.json"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.json", "there is no such file"),
        ("[bold]notes.json", "its name does not say what it is of; give --ticker and --date"),
        ("2025-11-27_SPX", "2025-11-27 is not an NYSE trading day since 2022-01-03"),
        ("2025-11-19_SPX", "the file ends in the middle of"),
        ("2025-11-20_SPX", "staged_snapshots bad_records: 2 of 200 records are bad (1.00%, at most 0.1% may be)"),
        ("2025-11-21_SPX", "is empty; download it again"),
    ],
)
def test_a_file_that_is_refused_is_told_with_its_reason(world: tuple[Path, Told], name: str, reason: str) -> None:
    line = world[1].of(name)
    assert line.startswith("refused ")
    assert reason in line


# What is there afterwards


def test_what_was_imported_is_whole_in_every_place(world: tuple[Path, Told]) -> None:
    folder, _ = world
    assert_whole(folder, IMPORTED)
    assert len(published(folder)) == 2 * len(IMPORTED)


def test_of_two_files_of_a_day_the_first_stays_and_what_the_second_says_otherwise_is_listed(
    world: tuple[Path, Told],
) -> None:
    folder, _ = world
    lines = query(
        folder,
        "SELECT records_imported, records_present, records_differing FROM data_lineage "
        "WHERE ticker = 'NQ_NDX' AND endpoint = 'gex_zero' ORDER BY import_id",
    )
    assert lines == [(SNAPSHOTS, 0, 0), (10, SNAPSHOTS, SNAPSHOTS)]
    [report] = (folder / "data" / "conflicts").rglob("*.parquet")
    assert report.parent.name == "gex_zero"
    assert pq.read_metadata(report).num_rows > 0


def test_every_line_in_the_lineage_names_the_run_that_dagster_knows(world: tuple[Path, Told]) -> None:
    folder, _ = world
    [(run_id,)] = query(folder, "SELECT DISTINCT run_id FROM data_lineage")
    assert query(folder, "SELECT status, count(*) FROM data_lineage GROUP BY ALL ORDER BY ALL") == [
        ("imported", 7),
        ("refused", 3),
    ]
    with dagster_of(folder) as instance:
        [known] = instance.get_runs()
        assert (known.run_id, known.job_name, known.status) == (run_id, "gex_import", dg.DagsterRunStatus.SUCCESS)


def test_dagster_has_failed_verdicts_of_what_was_refused_and_no_rows_of_it(world: tuple[Path, Told]) -> None:
    folder, _ = world
    with dagster_of(folder) as instance:
        of_staged = {(check.asset, check.name): verdicts(instance, check) for check in STAGED}
        failed = {(check, key) for check, known in of_staged.items() for key, passed in known.items() if not passed}
        assert failed == {(("staged_snapshots", "bad_records"), BAD)}
        assert all(verdicts(instance, check).keys() == IMPORTED for check in (*STORED, *PUBLISHED))
        there = materialized(instance)
    assert {asset for asset, keys in there.items() if BAD in keys} == {
        "history_file",
        "staged_snapshots",
        "staged_strikes",
    }
    assert query(folder, "SELECT DISTINCT date FROM data_lineage WHERE status = 'refused' ORDER BY date") == [
        (dt.date(2025, 11, day),) for day in (19, 20, 21)
    ]
    assert query(folder, "SELECT count(*) FROM gex_snapshots WHERE timestamp >= 1763596800000 "
                         "AND timestamp < 1763856000000") == [(0,)]  # fmt: skip


def test_a_materialization_is_recorded_as_a_run_of_the_partition_would(world: tuple[Path, Told]) -> None:
    folder, _ = world
    with dagster_of(folder) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("strikes_parquet"))
    assert event is not None
    materialization = event.asset_materialization
    assert materialization is not None
    assert isinstance(materialization.partition, dg.MultiPartitionKey)
    assert materialization.tags == get_tags_from_multi_partition_key(materialization.partition)
    assert materialization.metadata["dagster/partition_row_count"].value == SNAPSHOTS * STRIKES
    day = materialization.partition.keys_by_dimension
    picture = see(str(materialization.metadata["picture"].value))
    assert picture.alt == f"{day['feed']} on {day['date']}"


def test_no_file_of_the_user_is_changed_and_no_half_file_is_left(world: tuple[Path, Told], tmp_path: Path) -> None:
    folder, _ = world
    make_files(tmp_path)
    assert {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == {
        name: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and (tmp_path / (name := str(path.relative_to(folder)))).exists()
    }
    assert [path.name for path in folder.rglob("*") if path.suffix in {".part", ".tmp", ".etag"}] == []
    assert not any(path.is_symlink() for path in (folder / "data").rglob("*"))
