"""A history file that differs from what is stored: nothing is overwritten, and every difference is on file."""

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from gex_pipeline.feeds import Feed
from gex_pipeline.history.importing import ImportResult, import_staged
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage import conflicts
from gex_pipeline.storage.conflicts import CONFLICTS_SCHEMA, summarise_conflicts
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.lineage import ImportCounts
from gex_pipeline_tests.records import (
    OPENING,
    STRIKES,
    ZERO,
    import_and_die,
    import_records,
    record,
    stage_records,
    stored,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data")


def listed(result: ImportResult) -> list[tuple[Any, ...]]:
    """Return a report's rows: second, strike, field, stored, offered."""
    assert result.conflicts is not None
    report = pq.read_table(result.conflicts)
    assert report.schema.equals(CONFLICTS_SCHEMA)
    rows = report.to_pylist()
    assert {(row["ticker"], row["endpoint"]) for row in rows} == {("SPX", "gex_zero")}
    names = ("strike", "field", "stored", "offered")
    return [(row["timestamp"] // 1000 - OPENING, *(row[name] for name in names)) for row in rows]


def test_each_differing_field_is_listed_with_both_values_and_where_they_are_from(settings: Settings) -> None:
    import_records(settings, *(record(second) for second in range(6)))
    before = stored(settings)
    other_ladder = [[6730, -228.02, 0.3, [1, 2, 3, 4, None]], STRIKES[2], [6745, 1]]
    result = import_records(
        settings,
        record(0),
        record(1, spot=6734.25, min_dte=None, max_priors=[[1, 0.1]], seen_later={"a": [1, None]}),
        record(2, strikes=other_ladder),
        record(3, strikes=[*STRIKES, STRIKES[0]]),
        record(4, strikes=[]),
        record(6),
    )
    assert result.counts == ImportCounts(snapshots=1, strikes=3, present=5, differing=4)
    assert listed(result) == [
        (1, None, "extra", None, '{"seen_later":{"a":[1,null]}}'),
        (1, None, "max_priors", None, "[[1,0.1]]"),
        (1, None, "min_dte", "0", None),
        (1, None, "spot_price", "6734.5", "6734.25"),
        (2, 6730, "gamma", "-228.01", "-228.02"),
        (2, 6730, "oi_gamma", "0.30000000000000004", "0.3"),
        (2, 6730, "priors", "[1.0, 2.0, 3.0, 4.0, 5.0]", "[1.0, 2.0, 3.0, 4.0, NULL]"),
        (2, 6735.25, "strike", "6735.25", None),
        (2, 6745, "strike", None, "6745.0"),
        (3, 6730, "strike", None, "6730.0"),
        (4, 6730, "strike", "6730.0", None),
        (4, 6735.25, "strike", "6735.25", None),
        (4, 6740, "strike", "6740.0", None),
    ]
    assert result.conflicts == settings.data_dir / (
        f"conflicts/gexbot/SPX/gex_zero/20251114-{result.summary.sha256[:12]}.parquet"
    )
    rows = pq.read_table(result.conflicts).to_pylist()
    assert {row["import_id"] for row in rows} == {result.import_id} == {2}
    origins = {(row["stored_source"], row["stored_import_id"]) for row in rows if row["stored"] is not None}
    assert origins == {("history", 1)}
    kept = [[row for row in table if row[0] != (OPENING + 6) * 1000] for table in stored(settings)]
    assert kept == before


def test_the_first_differences_are_told_in_words(settings: Settings) -> None:
    import_records(settings, record(0), record(1))
    result = import_records(settings, record(0, spot=1, strikes=[[6730, 5]]), record(1))
    assert result.conflicts is not None
    fields, examples = summarise_conflicts(result.conflicts)
    assert fields == len(listed(result)) == 6
    assert examples[:2] == [
        "2025-11-14T09:30:01-05:00 strike 6730.0 gamma: stored -228.01 (history), offered 5.0",
        "2025-11-14T09:30:01-05:00 strike 6730.0 oi_gamma: stored 0.30000000000000004 (history), offered None",
    ]
    assert len(examples) == 5


def test_without_a_difference_there_is_no_report(settings: Settings) -> None:
    assert import_records(settings, record(0)).conflicts is None
    assert import_records(settings, record(1), record(0)).conflicts is None
    assert not settings.conflicts_dir.exists()


def test_the_same_file_again_is_unchanged_and_still_names_its_report(settings: Settings) -> None:
    import_records(settings, record(0))
    first = import_records(settings, record(0, spot=1))
    again = import_staged(settings, ZERO, "run")
    assert (again.unchanged_since, again.conflicts) == (2, first.conflicts)
    assert listed(again) == [(0, None, "spot_price", "6734.5", "1.0")]
    import_records(settings, record(0, spot=2))
    assert len(list(settings.conflicts_dir.rglob("*.parquet"))) == 2


def test_a_whole_day_that_differs_is_listed_stretch_by_stretch(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conflicts, "STRETCH_SNAPSHOTS", 7)
    import_records(settings, *(record(second) for second in range(60)))
    result = import_records(settings, *(record(second, spot=second, strikes=STRIKES[1:]) for second in range(60)))
    assert result.counts.differing == 60
    assert listed(result) == [
        row
        for second in range(60)
        for row in (
            (second, 6730, "strike", "6730.0", None),
            (second, None, "spot_price", "6734.5", f"{second:.1f}"),
        )
    ]


def test_strikes_that_are_stored_without_their_snapshot_are_a_difference(settings: Settings) -> None:
    import_records(settings, record(0))
    with lease(settings.database_path, purpose="lose the snapshot") as connection:
        connection.execute("DELETE FROM gex_snapshots")
    result = import_records(settings, record(0), record(1))
    assert result.counts == ImportCounts(snapshots=1, strikes=3, present=1, differing=1)
    assert listed(result) == [(0, None, "timestamp", None, str(OPENING * 1000))]


def test_another_feed_and_another_day_are_no_difference(settings: Settings) -> None:
    one = Partition(Feed("SPX", "gex_one"), ZERO.date)
    import_records(settings, record(0, spot=1), partition=one)
    import_records(settings, record(86_400 * 3, spot=1), partition=Partition(ZERO.feed, dt.date(2025, 11, 17)))
    assert import_records(settings, record(0)).counts == ImportCounts(1, 3, 0, 0)


def test_a_staged_file_without_vanna_has_none(settings: Settings) -> None:
    import_records(settings, record(0))
    stage_records(settings, record(0), record(1))
    assert "vanna" not in pq.read_schema(ZERO.staged(settings, "strikes")).names
    assert import_staged(settings, ZERO, "run").counts == ImportCounts(1, 3, 1, 0)
    with lease(settings.database_path, purpose="look") as connection:
        assert connection.execute("SELECT count(*), count(vanna) FROM gex_strikes").fetchall() == [(6, 0)]


# Users' own tables


LEGACY = """
CREATE TABLE gex_snapshots(timestamp BIGINT, ticker VARCHAR, spot_price REAL, zero_gamma DECIMAL(9, 2),
    net_gex DOUBLE, min_dte DOUBLE, sec_min_dte VARCHAR, max_priors VARCHAR, PRIMARY KEY (timestamp, ticker));
CREATE TABLE gex_strikes(timestamp BIGINT, ticker VARCHAR, strike REAL, gamma REAL, oi_gamma DECIMAL(18, 3),
    priors VARCHAR);
INSERT INTO gex_snapshots VALUES (1763130601000, 'SPX', 6734.1, 6712.951, NULL, 0, '1', '[[1,  0.1],\n [2, 3]]');
INSERT INTO gex_strikes VALUES (1763130601000, 'SPX', 6730.21, -228.0111, 86.9051, '[1, 2.5,null]');
"""
LEGACY_RECORD = {
    "timestamp": OPENING, "spot": 6734.1, "zero_gamma": 6712.951, "min_dte": 0, "sec_min_dte": 1,
    "max_priors": [[1, 0.1], [2, 3]], "strikes": [[6730.21, -228.0111, 86.9051, [1, 2.5, None]]],
}  # fmt: skip


@pytest.fixture
def legacy(settings: Settings) -> Settings:
    settings.data_dir.mkdir()
    with duckdb.connect(settings.database_path) as connection:
        connection.execute(LEGACY)
    return settings


def test_the_types_of_a_users_table_and_blanks_in_json_are_no_difference(legacy: Settings) -> None:
    result = import_records(legacy, LEGACY_RECORD, record(1))
    assert result.counts == ImportCounts(snapshots=1, strikes=3, present=1, differing=0)
    # What this system stored itself is no difference either.
    again = import_records(legacy, LEGACY_RECORD, record(1), record(2))
    assert again.counts == ImportCounts(snapshots=1, strikes=3, present=2, differing=0)


def test_what_differs_beyond_the_types_of_a_users_table_is_listed(legacy: Settings) -> None:
    changes = {
        "spot": 6734.2, "zero_gamma": 6712.96, "min_dte": 1, "sec_min_dte": 2, "max_priors": [[1, 0.2], [2, 3]],
        "strikes": [[6730.21, -228.02, 86.91, [1, 2.5, 3]]],
    }  # fmt: skip
    result = import_records(legacy, LEGACY_RECORD | changes)
    assert {row[2:] for row in listed(result)} == {
        ("spot_price", "6734.1", "6734.2"),
        ("zero_gamma", "6712.95", "6712.96"),
        ("min_dte", "0", "1"),
        ("sec_min_dte", "1", "2"),
        ("max_priors", "[[1,0.1],[2,3]]", "[[1,0.2],[2,3]]"),
        ("gamma", "-228.0111", "-228.02"),
        ("oi_gamma", "86.905", "86.910"),
        ("priors", "[1.0, 2.5, NULL]", "[1.0, 2.5, 3.0]"),
    }
    rows = pq.read_table(result.conflicts).to_pylist()
    assert {(row["stored_source"], row["stored_import_id"]) for row in rows} == {(None, None)}


def test_text_that_is_no_json_is_compared_as_it_is(legacy: Settings) -> None:
    with lease(legacy.database_path, purpose="spoil") as connection:
        connection.execute("UPDATE gex_snapshots SET max_priors = '[[1, 0.1'")
    result = import_records(legacy, LEGACY_RECORD)
    assert listed(result) == [(0, None, "max_priors", "[[1, 0.1", "[[1,0.1],[2,3]]")]


# Killed


@pytest.mark.parametrize("place", ["insert_unknown", "record_import"])
def test_an_import_killed_after_its_report_leaves_the_database_as_it_was_and_the_next_reports_the_same(
    settings: Settings, place: str
) -> None:
    import_records(settings, record(0), record(1))
    before = stored(settings)
    stage_records(settings, record(0, spot=1), record(1), record(2))
    import_and_die(settings, place)
    assert stored(settings) == before
    [left] = settings.conflicts_dir.rglob("*.parquet")
    content = left.read_bytes()
    result = import_staged(settings, ZERO, "run")
    assert result.counts == ImportCounts(snapshots=1, strikes=3, present=2, differing=1)
    assert result.conflicts == left
    assert left.read_bytes() == content
    assert [path.name for path in settings.conflicts_dir.rglob("*") if path.is_file()] == [left.name]
