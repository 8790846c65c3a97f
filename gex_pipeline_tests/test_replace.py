"""Replacing stored rows by those of a history file: only when asked, only what differs, and kept first."""

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from gex_pipeline.backups.folder import list_backups
from gex_pipeline.errors import BackupError
from gex_pipeline.feeds import Feed
from gex_pipeline.history.importing import ImportResult, import_staged
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings, load_settings
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

DIFFERING = [record(1, spot=1), record(2, strikes=[[6730, 5], [6745, 6]])]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data")


def look(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with lease(settings.database_path, purpose="look") as connection:
        return connection.execute(sql).fetchall()


def backups(settings: Settings) -> list[Path]:
    return sorted(path for path in (settings.backups_dir / "replaced").rglob("*") if path.is_file())


def of_seconds(rows: list[tuple[Any, ...]], *seconds: int) -> list[tuple[Any, ...]]:
    return [row for row in rows if row[0] // 1000 - OPENING in seconds]


def kept(result: ImportResult) -> list[list[tuple[Any, ...]]]:
    """Return what the backup files hold, with the columns as in the tables."""
    return [[tuple(row.values()) for row in pq.read_table(path).to_pylist()] for path in result.replaced_rows]


def test_what_differs_is_kept_and_replaced_and_everything_else_stays(settings: Settings) -> None:
    import_records(settings, *(record(second) for second in range(4)))
    before = stored(settings)
    result = import_records(settings, record(0), *DIFFERING, record(5), replace=True)
    assert (result.status, result.import_id) == ("replaced", 2)
    assert result.counts == ImportCounts(snapshots=3, strikes=8, present=3, differing=2, replaced=2)
    after = stored(settings)
    for old, new, rows in zip(before, after, kept(result), strict=True):
        assert of_seconds(new, 0, 3) == of_seconds(old, 0, 3)
        assert sorted(rows, key=repr) == sorted(of_seconds(old, 1, 2), key=repr)
    assert look(
        settings,
        "SELECT timestamp // 1000 - 1763130601, spot_price, import_id FROM gex_snapshots ORDER BY 1",
    ) == [(0, 6734.5, 1), (1, 1, 2), (2, 6734.5, 2), (3, 6734.5, 1), (5, 6734.5, 2)]
    assert look(
        settings,
        "SELECT strike, gamma, source, import_id FROM gex_strikes WHERE timestamp = 1763130603000 ORDER BY 1",
    ) == [(6730, 5, "history", 2), (6745, 6, "history", 2)]
    assert look(
        settings,
        "SELECT import_id, status, records_imported, records_present, records_differing, records_replaced, errors "
        "FROM data_lineage ORDER BY 1",
    ) == [(1, "imported", 4, 0, 0, 0, None), (2, "replaced", 3, 3, 2, 2, None)]


def test_the_kept_rows_are_named_by_their_day_and_the_moment(settings: Settings) -> None:
    import_records(settings, record(1), record(2))
    result = import_records(settings, *DIFFERING, replace=True)
    assert list(result.replaced_rows) == sorted(backups(settings), key=lambda path: path.suffixes)
    folder = settings.data_dir / "backups/replaced/gexbot/SPX/gex_zero"
    today = f"{dt.datetime.now(dt.UTC):%Y}"
    for table, path in zip(("snapshots", "strikes"), result.replaced_rows, strict=True):
        assert path.parent == folder
        assert path.name.startswith(f"20251114-{today}")
        assert path.name.endswith(f"Z.{table}.parquet")


def test_nothing_is_replaced_unless_it_is_asked_for(settings: Settings) -> None:
    import_records(settings, record(1), record(2))
    before = stored(settings)
    result = import_records(settings, *DIFFERING)
    assert (result.status, result.replaced_rows, result.counts.replaced) == ("imported", (), 0)
    assert stored(settings) == before
    assert backups(settings) == []


def test_a_file_that_was_imported_before_replaces_what_stayed_then(settings: Settings) -> None:
    import_records(settings, record(1), record(2))
    assert import_records(settings, *DIFFERING).conflicts is not None
    assert import_staged(settings, ZERO, "run").status == "unchanged"
    result = import_staged(settings, ZERO, "run", replace=True)
    assert (result.status, result.counts.replaced) == ("replaced", 2)
    again = import_staged(settings, ZERO, "run", replace=True)
    assert (again.status, again.unchanged_since) == ("unchanged", result.import_id)
    assert again.counts == ImportCounts(0, 0, 2, 0)
    assert len(backups(settings)) == 2
    after = import_staged(settings, ZERO, "run")
    assert (after.unchanged_since, after.conflicts) == (result.import_id, None)


def test_the_first_file_can_be_put_back(settings: Settings) -> None:
    import_records(settings, record(1), record(2))
    before = stored(settings)
    import_records(settings, *DIFFERING, replace=True)
    result = import_records(settings, record(1), record(2), replace=True)
    assert result.counts == ImportCounts(2, 6, 2, 2, 2)
    assert [[row[:-1] for row in table] for table in stored(settings)] == [
        [row[:-1] for row in table] for table in before
    ]
    assert len(backups(settings)) == 4


def test_a_file_that_differs_nowhere_replaces_nothing(settings: Settings) -> None:
    import_records(settings, record(1))
    result = import_records(settings, record(1), record(2), replace=True)
    assert (result.status, result.counts) == ("imported", ImportCounts(1, 3, 1, 0, 0))
    assert backups(settings) == []


def test_other_feeds_and_other_days_are_never_replaced(settings: Settings) -> None:
    one = Partition(Feed("SPX", "gex_one"), ZERO.date)
    import_records(settings, record(1), partition=one)
    import_records(settings, record(1 + 3 * 86_400), partition=Partition(ZERO.feed, dt.date(2025, 11, 17)))
    before = stored(settings)
    import_records(settings, record(1))
    import_records(settings, record(1, spot=9, strikes=[]), replace=True)
    for old, new in zip(before, stored(settings), strict=True):
        assert [row for row in new if row in old] == old
    assert look(settings, "SELECT count(*), count(*) FILTER (spot_price = 9) FROM gex_snapshots") == [(3, 1)]
    assert look(settings, "SELECT count(*) FROM gex_strikes") == [(2 * len(STRIKES),)]


def test_the_kept_rows_of_an_adopted_database_have_the_users_own_columns_and_duplicates(settings: Settings) -> None:
    settings.data_dir.mkdir()
    with duckdb.connect(settings.database_path) as connection:
        connection.execute(
            "CREATE TABLE gex_snapshots(timestamp BIGINT, ticker VARCHAR, spot_price REAL, note VARCHAR, "
            "seen STRUCT(a INTEGER, b VARCHAR[]), PRIMARY KEY (timestamp, ticker))"
        )
        connection.execute(
            "CREATE TABLE gex_strikes(timestamp BIGINT, ticker VARCHAR, strike DOUBLE, gamma DOUBLE, priors VARCHAR)"
        )
        connection.execute(
            "INSERT INTO gex_snapshots VALUES (1763130601000, 'SPX', 1.5, 'mine', {'a': 1, 'b': ['x', NULL]}), "
            "(1763130602000, 'SPX', 2.5, 'mine too', NULL)"
        )
        for _ in range(2):
            connection.execute("INSERT INTO gex_strikes VALUES (1763130601000, 'SPX', 6730, 1, '[1, 2]')")
    result = import_records(settings, record(0), replace=True)
    snapshots, strikes = (pq.read_table(path).to_pylist() for path in result.replaced_rows)
    assert [(row["spot_price"], row["note"], row["seen"]) for row in snapshots] == [
        (1.5, "mine", {"a": 1, "b": ["x", None]})
    ]
    assert [(row["strike"], row["gamma"], row["priors"]) for row in strikes] == [(6730, 1, "[1, 2]")] * 2
    assert look(settings, "SELECT spot_price, note, source FROM gex_snapshots ORDER BY timestamp") == [
        (6734.5, None, "history"),
        (2.5, "mine too", None),
    ]


@pytest.mark.parametrize(
    ("place", "files"), [("keep_replaced", 0), ("delete_differing", 2), ("insert_unknown", 2), ("record_import", 2)]
)
def test_a_replacing_import_that_is_killed_has_replaced_nothing_and_can_be_repeated(
    settings: Settings, place: str, files: int
) -> None:
    import_records(settings, record(1), record(2))
    before = stored(settings)
    stage_records(settings, *DIFFERING)
    import_and_die(settings, place, replace=True)
    assert stored(settings) == before
    assert len(backups(settings)) == files
    result = import_staged(settings, ZERO, "run", replace=True)
    assert (result.status, result.counts.replaced) == ("replaced", 2)
    assert sorted(kept(result)[0], key=repr) == sorted(before[0], key=repr)


def test_rows_that_cannot_be_kept_are_not_replaced(settings: Settings) -> None:
    import_records(settings, record(1), record(2))
    before = stored(settings)
    settings.backups_dir.mkdir()
    (settings.backups_dir / "replaced").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="replaced"):
        import_records(settings, *DIFFERING, replace=True)
    assert stored(settings) == before
    assert look(settings, "SELECT count(*) FROM data_lineage") == [(1,)]


def test_the_database_is_backed_up_before_anything_is_replaced(settings: Settings) -> None:
    import_records(settings, record(1), record(2))
    import_records(settings, *DIFFERING, replace=True)
    (backup,) = list_backups(settings.database_backups_dir)
    assert backup.manifest.reason == f"before the replacement of {ZERO.key}"
    with duckdb.connect(backup.path, read_only=True) as copy:
        assert copy.execute("SELECT DISTINCT import_id FROM gex_snapshots").fetchall() == [(1,)]


def test_without_a_backup_of_the_database_nothing_is_replaced(settings: Settings) -> None:
    import_records(settings, record(1), record(2))
    before = stored(settings)
    settings.backups_dir.write_text("a file where the folder should be")
    with pytest.raises(BackupError, match="no backup can be kept"):
        import_records(settings, *DIFFERING, replace=True)
    assert stored(settings) == before
