"""Columns and JSON of published files that are held: as good as read anew, and never more than there is room for."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gex_pipeline.feeds import Feed
from gex_pipeline.queries import held_json
from gex_pipeline.queries.held import Held
from gex_pipeline.queries.held_json import HeldJson
from gex_pipeline.queries.json_rows import json_array
from gex_pipeline.queries.published import read_published
from gex_pipeline.queries.recent import RecentRows
from gex_pipeline.queries.shapes import Shape
from gex_pipeline.queries.spans import END_MS, Span

COLUMNS = ("timestamp", "spot_price", "zero_gamma")
FEED = Feed("SPX", "gex_zero")
EVER = Span(0, END_MS)


def publish(path: Path, spots: list[float], **options: int) -> None:
    """Let a file appear whole, as publishing does."""
    rows = {"timestamp": range(len(spots)), "spot_price": spots, "zero_gamma": spots}
    pq.write_table(pa.table(rows), path.with_suffix(".new"), **options)
    path.with_suffix(".new").replace(path)


def spots(path: Path, columns: tuple[str, ...] = COLUMNS, span: Span = EVER) -> list[float]:
    """Return what is read, which is the same as values and as JSON."""
    rows = read_published(path, Shape(FEED, columns), span)
    written = read_published(path, Shape(FEED, columns, is_json=True), span)
    assert rows is not None
    assert tuple(rows.column_names) == columns
    assert written is not None
    assert written["timestamp"] == rows["timestamp"]
    assert json.loads(json_array(written["json"])) == rows.to_pylist()
    found: list[float] = rows["spot_price"].to_pylist()
    return found


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_json, "BLOCK_ROWS", 8)


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "20251114.snapshots.parquet"
    publish(path, [1.0, 2.0, 3.0])
    assert spots(path, COLUMNS[:2]) == [1, 2, 3]
    assert spots(path, COLUMNS, Span(1, 2)) == [2]
    publish(path, [4.0, 5.0, 6.0])
    assert spots(path) == [4, 5, 6]
    path.unlink()
    assert read_published(path, Shape(FEED, COLUMNS), EVER) is None


@pytest.mark.parametrize("rows", [100, 7])
def test_rows_are_the_same_held_or_not_and_in_one_row_group_or_many(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "20251114.snapshots.parquet"
    publish(path, [float(number) for number in range(100)], row_group_size=rows)
    for _ in range(2):
        assert spots(path, span=Span(10, 20)) == list(range(10, 20))
        assert spots(path, ("spot_price", "timestamp"), Span(95, END_MS)) == list(range(95, 100))


def test_what_was_asked_for_longest_ago_gives_way() -> None:
    held = Held[str, pa.ChunkedArray](2_000)
    for name in ("a", "b"):
        held.keep({name: pa.chunked_array([np.zeros(100)])})
    assert set(held.find(["a"])) == {"a"}
    held.keep({"c": pa.chunked_array([np.zeros(100)])})
    assert set(held.find(["a", "b", "c"])) == {"a", "c"}


def test_only_whole_blocks_are_written_once() -> None:
    read, rows = [], pa.table({name: range(20) for name in COLUMNS})

    def slice_of(begin: int, end: int) -> pa.Table:
        read.append(begin)
        return rows.slice(begin, end - begin)

    held, shape = HeldJson(), Shape(FEED, COLUMNS, is_json=True)
    for _ in range(2):
        assert held.read("rows", shape, 10, 20, slice_of)["timestamp"].to_pylist() == list(range(10, 20))
    assert read == [8, 16]
    assert held.read("rows", shape, 3, 3, slice_of).num_rows == 0
    others = held.read("others", shape, 8, 16, slice_of)
    assert held.read("rows", shape._replace(names=COLUMNS[:2]), 8, 16, slice_of) != others
    assert read == [8, 16, 8, 8]


def test_of_today_no_more_rows_are_written_than_are_asked_for() -> None:
    held = RecentRows(pa.table({name: range(20) for name in COLUMNS}), object(), 0.0, 0.0)
    for shape in (Shape(FEED, COLUMNS), Shape(FEED, COLUMNS, is_json=True)):
        assert held.cut(shape, Span(3, END_MS), 5)["timestamp"].to_pylist() == [3, 4, 5, 6, 7]


def test_a_file_that_is_not_by_time_is_read_by_time(tmp_path: Path) -> None:
    path = tmp_path / "20251114.snapshots.parquet"
    times = [*range(50, 100), *range(50)]
    pq.write_table(pa.table({"timestamp": times, "spot_price": times, "zero_gamma": times}), path)
    assert spots(path, span=Span(45, 55)) == list(range(45, 55))
