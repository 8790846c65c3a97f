"""Lines of the lineage: written, found again, and counted on."""

from __future__ import annotations  # evaluated, they would keep DuckDB types alive

import datetime as dt
from typing import Any

import duckdb

from gex_pipeline.clock import epoch_ms
from gex_pipeline.feeds import Feed
from gex_pipeline.storage.lineage import (
    EarlierImport,
    ImportCounts,
    add_to_segment,
    find_import,
    import_ids,
    next_import_id,
    record_import,
    segment_import_id,
)

ZERO, ONE = Feed("SPX", "gex_zero"), Feed("SPX", "gex_one")
DAY = dt.date(2026, 4, 29)


def test_an_import_is_found_by_its_bytes_and_its_partition_only(database: duckdb.DuckDBPyConnection) -> None:
    def record(import_id: int, **changes: Any) -> None:
        line: dict[str, Any] = {
            "import_id": import_id, "source_file": "a.json", "sha256": "abc", "feed": ZERO, "date": DAY,
            "counts": ImportCounts(5, 50, 2, 1), "status": "imported", "run_id": "run",
            "started_at_ms": epoch_ms() - 1500,
        }  # fmt: skip
        record_import(database, **(line | changes))

    before_ms = epoch_ms()
    assert find_import(database, ZERO, DAY, "abc") is None
    record(1, status="unchanged")
    record(2, status="failed")
    record(3, sha256="other")
    record(4, feed=ONE)
    record(5, feed=Feed("NDX", "gex_zero"))
    record(6, date=DAY + dt.timedelta(days=1))
    assert find_import(database, ZERO, DAY, "abc") is None
    record(7)
    record(8, run_id=None, status="replaced", counts=ImportCounts(5, 50, 3, 2, 1))
    found = find_import(database, ZERO, DAY, "abc")
    assert found is not None
    assert found == EarlierImport(8, 5, 1, found.import_timestamp_ms)
    assert before_ms <= found.import_timestamp_ms <= epoch_ms()
    line = database.execute(
        "SELECT * REPLACE (import_timestamp - started_at AS import_timestamp, 0 AS started_at) "
        "FROM data_lineage WHERE import_id = 8"
    ).fetchall()
    ms = line[0][14]
    assert 1500 <= ms < 10_000
    assert line == [
        (
            8,
            "a.json",
            "abc",
            "history",
            "SPX",
            "gex_zero",
            DAY,
            5,
            50,
            3,
            2,
            1,
            0,
            ms / 1000,
            ms,
            "replaced",
            None,
            None,
        ),
    ]
    assert import_ids(database, ZERO, DAY, "abc") == [7, 8]


def test_import_ids_count_on_from_the_highest(database: duckdb.DuckDBPyConnection) -> None:
    assert next_import_id(database) == 1
    first = segment_import_id(database, "journal-a", 1)
    assert (first, next_import_id(database)) == (1, 2)


def test_a_journal_segment_has_one_line_that_its_batches_add_to(database: duckdb.DuckDBPyConnection) -> None:
    first = segment_import_id(database, "a", 1)
    assert segment_import_id(database, "a", 1) == first
    second, other = segment_import_id(database, "a", 2), segment_import_id(database, "b", 1)
    assert len({first, second, other}) == 3
    add_to_segment(database, first, ImportCounts(1, 2, 3, 4))
    add_to_segment(database, first, ImportCounts(10, 20, 30, 40))
    lines = database.execute(
        "SELECT import_id, records_imported, strikes_imported, records_present, records_differing FROM data_lineage "
        "ORDER BY import_id"
    ).fetchall()
    assert lines == [
        (first, 11, 22, 33, 44),
        (second, 0, 0, 0, 0),
        (other, 0, 0, 0, 0),
    ]
