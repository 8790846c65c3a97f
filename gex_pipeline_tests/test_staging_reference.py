"""Staging against a slow reading that is obviously right: generated history files, value for value."""

import datetime as dt
import json
from pathlib import Path
from random import Random
from typing import Any

import hypothesis
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gex_pipeline.audit.plain_reading import TEXTS, Held, load
from gex_pipeline.feeds import Feed
from gex_pipeline.formats import history_file
from gex_pipeline.formats.history_file import PIECE_BYTES
from gex_pipeline.history.download import SourceFile
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.history.staging import StagedSummary, stage
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.files import sha256_of
from gex_pipeline_tests.odd_history_files import ODDITIES, Plan, plans, write_document, write_records
from gex_pipeline_tests.slow_reading import Reading, reference_rows

RECORDS = 3300
SPX = Partition(Feed("SPX", "gex_zero"), dt.date(2025, 11, 14))


def staged_rows(settings: Settings, table: Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(SPX.staged(settings, table)).to_pylist()
    for row in rows:
        if table == "strikes":
            row.setdefault("vanna", None)  # may be left out where no strike has one
            continue
        assert row.pop("source") == "history"
        row["extra"] = None if row["extra"] is None else load(row["extra"])
        row |= {name: None if row[name] is None else Held(load(row[name])) for name in TEXTS}
    return rows


def told_apart(rows: list[dict[str, Any]]) -> list[str]:
    """Return rows as texts in which 1 and 1.0, 0.0 and -0.0 differ."""
    return [repr(sorted(row.items())) for row in rows]


def assert_staged_as_read(
    folder: Path, content: bytes, records: list[str], piece_bytes: int = PIECE_BYTES
) -> tuple[StagedSummary, Reading]:
    settings = load_settings(data_dir=folder)
    path = SPX.source(settings).with_suffix(".json")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_file, "PIECE_BYTES", piece_bytes)
        summary = stage(settings, SPX, SourceFile(path, sha256_of(path)))
    reading = reference_rows(records)

    assert told_apart(staged_rows(settings, "snapshots")) == told_apart(reading.snapshots)
    assert told_apart(staged_rows(settings, "strikes")) == told_apart(reading.strikes)
    assert (summary.records, summary.snapshots, summary.strikes, summary.bad) == (
        len(records), len(reading.snapshots), len(reading.strikes), len(reading.bad)
    )  # fmt: skip
    assert (summary.duplicates, summary.duplicates_differing) == (reading.duplicates, reading.differing)
    assert (summary.first_ms, summary.last_ms) == (
        min(reading.first, default=None), max(reading.first, default=None)
    )  # fmt: skip
    times = [row["timestamp"] for row in reading.snapshots]
    levels = [(row["timestamp"], row["strike"]) for row in reading.strikes]
    assert summary.is_sorted == (times == sorted(times) and levels == sorted(levels))
    quarantined = Path(summary.quarantine).read_text().splitlines() if summary.quarantine else []
    assert [
        (bad["position"], bad["reason"].partition(":")[0], bad["record"].strip())
        for bad in map(json.loads, quarantined)
    ] == reading.bad
    return summary, reading


@hypothesis.settings(max_examples=100, deadline=None)
@given(plan=plans, piece_bytes=st.sampled_from([PIECE_BYTES, 2_000, 200, 1]))
def test_a_file_is_staged_as_the_slow_reading_reads_it(
    plan: Plan, piece_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = write_records(plan)
    content = write_document(plan.layout, records)
    hypothesis.note(content.decode())
    assert_staged_as_read(tmp_path_factory.mktemp("file"), content, records, piece_bytes)


def test_a_file_of_several_pieces_is_staged_as_the_slow_reading_reads_it(tmp_path: Path) -> None:
    random = Random(7)
    odd = [frozenset({name}) for name in ODDITIES] + [frozenset(ODDITIES[:5]), frozenset(ODDITIES)]
    plan = Plan(
        "array",
        [
            (
                random.getrandbits(32),
                random.choice([0, 1, 1, 2, 3]),
                random.choice(odd) if random.random() < 0.3 else frozenset(),
                random.random() < 0.02,
            )
            for _ in range(RECORDS)
        ],
    )
    records = write_records(plan)
    content = write_document("array", records)
    summary, reading = assert_staged_as_read(tmp_path / "data", content, records, len(content) // 12)
    # The file has something of everything, or the comparison says little.
    assert summary.snapshots > RECORDS // 2
    assert min(summary.bad, summary.duplicates_differing, summary.duplicates - summary.duplicates_differing) > 3
    for table, names in ((reading.snapshots, ("extra", *TEXTS)), (reading.strikes, ("vanna",))):
        assert all(any(row[name] is not None for row in table) for name in names)


@pytest.mark.parametrize("spot", ["[6730.5]", "[[6730.5]]", '"6730.5"', "true", "null", "-0.0", "1e400", "{}"])
def test_a_number_among_plain_ones_that_is_something_else_is_staged_as_the_slow_reading_reads_it(
    spot: str, tmp_path: Path
) -> None:
    records = [
        f'{{"timestamp":{1763130602 + second},"ticker":"SPX","spot":{spot if second == 3 else 6730.25},"min_dte":0,'
        f'"zero_gamma":6712,"strikes":[[6730,1,2,[1,2,3,4,5]]]}}'
        for second in range(6)
    ]
    assert_staged_as_read(tmp_path / "data", f"[{','.join(records)}]".encode(), records)


@pytest.mark.parametrize("levels", [(6700, 6710, 6690), (6710, 6700, 6720), (6700, 6700, 6700)])
@pytest.mark.parametrize("seconds", [(0, 1), (1, 0)])
def test_rows_are_told_to_be_in_order_when_times_and_in_each_ladder_strikes_ascend(
    seconds: tuple[int, int], levels: tuple[int, int, int], tmp_path: Path
) -> None:
    ladders = (f"[{levels[0]},1,2,[1,2,3,4,5]],[{levels[1]},1,2,[1,2,3,4,5]]", f"[{levels[2]},1,2,[1,2,3,4,5]]")
    records = [
        f'{{"timestamp":{1763130602 + second},"ticker":"SPX","spot":6730.25,"strikes":[{ladder}]}}'
        for second, ladder in zip(seconds, ladders, strict=True)
    ]
    assert_staged_as_read(tmp_path / "data", f"[{','.join(records)}]".encode(), records)
