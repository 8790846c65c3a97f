"""What is read of a day for its checks is what SQL over the same rows says, however the file is cut into groups."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gex_pipeline.history.observed import MAJORS, VENDOR_NUMBERS, observe
from gex_pipeline.storage.lease import in_memory

SNAPSHOTS = 40
ALL_AT_ONCE = 10_000


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with in_memory() as opened:
        yield opened


def write(folder: Path, ladders: dict[int, list[tuple[float | None, ...]]], group_rows: int) -> None:
    """Write the ladders by their timestamps, and a snapshot for each of them but the last."""
    rows = [(time, *strike) for time, ladder in ladders.items() for strike in ladder]
    columns = zip(*rows, strict=True)
    types = [pa.int64(), pa.float64(), pa.float64(), pa.float64()]
    names = ["timestamp", "strike", "gamma", "oi_gamma"]
    strikes = pa.table(dict(zip(names, map(pa.array, columns, types), strict=True)))
    pq.write_table(strikes, folder / "strikes.parquet", row_group_size=group_rows)
    times = list(ladders)[:-1]
    numbers = {name: np.arange(len(times)) / 7 for name in VENDOR_NUMBERS}
    snapshots = pa.table({"timestamp": times, "source": ["history"] * len(times), **numbers})
    pq.write_table(snapshots, folder / "snapshots.parquet")


def by_sql(connection: duckdb.DuckDBPyConnection, strikes: Path) -> dict[int, dict[str, Any]]:
    extremes = ", ".join(
        f"{pick}({column}) AS {extreme}, arg_{pick}(strike, {column}) AS {place}"
        for pick, (_, extreme, place, column) in zip(("max", "min", "max", "min"), MAJORS, strict=True)
    )
    sums = "count(*) AS strikes, min(strike) AS lowest, sum(gamma) AS total_vol, sum(oi_gamma) AS total_oi"
    grouped = f"SELECT timestamp, max(strike) AS highest, {sums}, {extremes} FROM '{strikes}' GROUP BY timestamp"  # noqa: S608
    rows = connection.sql(grouped)
    return {row["timestamp"]: row for row in rows.to_arrow_table().to_pylist()}


@pytest.mark.parametrize("group_rows", [1, 7, 50, ALL_AT_ONCE])
@pytest.mark.parametrize("is_even", [True, False], ids=["ladders of one size", "of many sizes"])
def test_each_snapshot_comes_with_what_its_ladder_adds_up_to(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection, group_rows: int, is_even: bool
) -> None:
    random = np.random.default_rng(1)
    ladders = {
        1000 * number: [
            (100.0 + level, *(None if random.random() < 0.05 else float(value) for value in random.normal(0, 50, 2)))
            for level in range(9 if is_even else random.integers(1, 12))
        ]
        for number in range(SNAPSHOTS)
    }
    write(tmp_path, ladders, group_rows)
    day = observe(tmp_path / "snapshots.parquet", tmp_path / "strikes.parquet")
    expected = by_sql(connection, tmp_path / "strikes.parquet")
    found = day.rows.to_pylist()
    assert [row["timestamp"] for row in found] == list(ladders)[:-1]
    for row in found:
        for name, value in expected[row["timestamp"]].items():
            if value is not None:
                assert row[name] == pytest.approx(value, abs=1e-9), name
    assert [row["previous_ms"] for row in found] == [None, *list(ladders)[:-2]]
    assert (day.strikes, day.orphans) == (sum(map(len, ladders.values())), len(ladders[39_000]))
    assert (len(day.repeated), len(day.descending)) == (0, 0)


@pytest.mark.parametrize("group_rows", [1, 2, 3, ALL_AT_ONCE])
def test_strikes_that_repeat_or_descend_are_found_within_their_ladder_only(tmp_path: Path, group_rows: int) -> None:
    levels = {1: [5.0, 6, 7], 2: [5.0, 6, 6], 3: [6.0, 5, 7], 4: [1.0]}
    write(tmp_path, {time: [(level, 1, 1) for level in ladder] for time, ladder in levels.items()}, group_rows)
    day = observe(tmp_path / "snapshots.parquet", tmp_path / "strikes.parquet")
    assert (day.repeated.tolist(), day.descending.tolist()) == ([2], [3])


def test_files_that_were_replaced_are_read_again(tmp_path: Path) -> None:
    paths = tmp_path / "snapshots.parquet", tmp_path / "strikes.parquet"
    write(tmp_path, {1: [(5, 1, 1)], 2: [(5, 1, 1)]}, 1)
    first = observe(*paths)
    assert observe(*paths) is first
    write(tmp_path, {1: [(5, 2, 1), (6, 2, 1)], 2: [(5, 1, 1)]}, 1)
    assert observe(*paths).rows["total_vol"].to_pylist() == [4]
