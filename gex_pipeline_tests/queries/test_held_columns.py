"""Columns of published files that are held: as good as read anew, and never more of them than there is room for."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gex_pipeline.queries import held_columns
from gex_pipeline.queries.held_columns import Group, HeldColumns
from gex_pipeline.queries.published import read_published
from gex_pipeline.queries.spans import END_MS, Span
from gex_pipeline.storage.files import version_of

COLUMNS = ("timestamp", "spot_price", "zero_gamma")
EVER = Span(0, END_MS)


def publish(path: Path, spots: list[float], **options: int) -> None:
    """Let a file appear whole, as publishing does."""
    rows = {"timestamp": range(len(spots)), "spot_price": spots, "zero_gamma": spots}
    pq.write_table(pa.table(rows), path.with_suffix(".new"), **options)
    path.with_suffix(".new").replace(path)


def spots(path: Path, columns: tuple[str, ...] = COLUMNS, span: Span = EVER) -> list[float]:
    rows = read_published(path, columns, span)
    assert rows is not None
    assert tuple(rows.column_names) == columns
    found: list[float] = rows["spot_price"].to_pylist()
    return found


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "20251114.snapshots.parquet"
    publish(path, [1.0, 2.0, 3.0])
    assert spots(path, COLUMNS[:2]) == [1, 2, 3]
    assert spots(path, COLUMNS, Span(1, 2)) == [2]
    publish(path, [4.0, 5.0, 6.0])
    assert spots(path) == [4, 5, 6]
    path.unlink()
    assert read_published(path, COLUMNS, EVER) is None


@pytest.mark.parametrize("rows", [100, 7])
def test_rows_are_the_same_held_or_not_and_in_one_row_group_or_many(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "20251114.snapshots.parquet"
    publish(path, [float(number) for number in range(100)], row_group_size=rows)
    for _ in range(2):
        assert spots(path, span=Span(10, 20)) == list(range(10, 20))
        assert spots(path, ("spot_price", "timestamp"), Span(95, END_MS)) == list(range(95, 100))


def test_columns_asked_for_longest_ago_give_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_columns, "HELD_BYTES", 2_000)
    (tmp_path / "file").touch()
    group, held = Group(version_of(tmp_path / "file"), 3), HeldColumns()
    for name in ("a", "b"):
        held.keep(group, {name: pa.chunked_array([np.zeros(100)])})
    assert set(held.find(group, ["a"])) == {"a"}
    held.keep(group, {"c": pa.chunked_array([np.zeros(100)])})
    assert set(held.find(group, ["a", "b", "c"])) == {"a", "c"}
    assert held.find(group._replace(number=4), ["a"]) == {}
    assert held.find(Group(group.version._replace(size_bytes=1), 3), ["a"]) == {}
