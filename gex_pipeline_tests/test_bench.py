"""Benchmarks end with figures, and a benchmark under its floor with an exit status. No test asserts a speed."""

import datetime as dt
import gzip
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import msgspec
import pytest

from gex_pipeline.bench.backlog_run import BacklogRun
from gex_pipeline.bench.capture_bench import NOTHING, OURS, PLAIN, CaptureComparison, CaptureRun, compare_captures
from gex_pipeline.bench.crowd_bench import AFTER, BACKLOG_FIRST, BACKLOG_LAST, BEFORE, DURING, measure_crowd
from gex_pipeline.bench.everything import Measured, ratios
from gex_pipeline.bench.floors import BOUNDS, Bound, judge
from gex_pipeline.bench.growth_bench import Growth, measure_growth
from gex_pipeline.bench.import_bench import OWN_YARDSTICK, ImportComparison, compare_imports
from gex_pipeline.bench.load import LoadRun
from gex_pipeline.bench.paced import PacedRun
from gex_pipeline.bench.query_bench import NEWEST, PUBLISHED_HOUR, TODAYS_HOUR, QueryRun, run_queries
from gex_pipeline.bench.query_reader import QueryFigures
from gex_pipeline.bench.runs import ImportRun, summarise
from gex_pipeline.bench.session_bench import run_session
from gex_pipeline.bench.session_files import partition_of, write_fourfold
from gex_pipeline.bench.tables import query_tables
from gex_pipeline.bench.turns import BenchmarkError, in_fresh_process, scratch_folder, take_turns
from gex_pipeline.demo.sessions import Session, write_history_file
from gex_pipeline.feeds import Feed
from gex_pipeline_tests.processes import gex

STAGES = (
    "checksum",
    "stage",
    "check what is staged",
    "import",
    "check what is stored",
    "export",
    "check what is published",
)
SESSION = Session(feed=Feed("NQ_NDX", "gex_zero"), date=dt.date(2025, 11, 14), snapshots=300, strikes=10)


def _silent(_: str) -> None:
    """Tell nobody."""


@pytest.fixture
def day(tmp_path: Path) -> Path:
    path = tmp_path / "2025-11-14_NQ_NDX_classic_gex_zero.json"
    write_history_file(path, SESSION)
    return path


def test_the_import_benchmark_shows_every_stage_and_the_yardsticks_beside_it(day: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import pathlib, sys\npathlib.Path(sys.argv[3]).write_bytes(pathlib.Path(sys.argv[1]).read_bytes())"
    )
    ended = gex(
        "bench",
        "import",
        str(day),
        "--repeat",
        "1",
        "--against",
        "--yardstick",
        str(slow),
        data_dir=tmp_path / "data",
    )
    assert ended.returncode == 0, ended.stderr
    assert "300 snapshots, 3,000 strikes" in " ".join(ended.stdout.split())
    for word in (*STAGES, "total", "snapshots/s", "strikes/s", "MB/s", "peak MB", "yardstick_import.py", "slow.py"):
        assert f" {word} " in ended.stdout, word
    assert not (tmp_path / "data").exists()


def test_the_query_benchmark_shows_readers_and_captures_beside_each_other(
    day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PUBLISHED_DAYS", 1), ("HOUR_MS", 60_000), ("HOUR_ROWS", 60)):
        monkeypatch.setattr(f"gex_pipeline.bench.query_bench.{name}", value)
    run = run_queries(day, seconds=2, tell=_silent)
    assert len(run.queries) == 11
    assert all(figures.answers > 0 and figures.size_bytes > 0 for figures in run.queries.values())
    assert (run.alone.failed, run.beside.failed) == (0, 0)
    cells = [cell for table in query_tables(run) for column in table.columns for cell in column.cells]
    assert {*run.queries, "with readers", "without readers"} <= set(cells)


def test_the_backlog_benchmark_shows_speed_and_memory(tmp_path: Path) -> None:
    ended = gex("bench", "backlog", "--snapshots", "1500", "--repeat", "1", data_dir=tmp_path / "data")
    assert ended.returncode == 0, ended.stderr
    [row] = [line for line in ended.stdout.splitlines() if "1,500" in line]
    assert float(row.replace(",", "").split("│")[3]) > 0


def test_a_benchmark_writes_nothing_where_the_settings_point(
    day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("GEX_DATA_DIR", "GEX_PARQUET_DIR", "GEX_STAGING_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    compare_imports(day, [], repeat=1, tell=_silent)
    assert [path for path in tmp_path.iterdir() if path != day] == []


def test_a_benchmark_leaves_no_scratch_folder(day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    compare_imports(day, [OWN_YARDSTICK], repeat=1, tell=_silent)
    assert list(scratch.iterdir()) == []


def test_a_file_that_cannot_be_imported_ends_the_benchmark_with_the_reason(tmp_path: Path) -> None:
    broken = tmp_path / "2025-11-14_NQ_NDX_classic_gex_zero.json"
    broken.write_text('[{"timestamp": 1763130602')
    ended = gex("bench", "import", str(broken), "--repeat", "1", data_dir=tmp_path / "data")
    assert ended.returncode == 2
    assert "gex: import_run failed" in ended.stderr
    assert "MalformedFileError" in ended.stderr


def test_a_yardstick_that_fails_ends_the_benchmark_with_the_reason(day: Path, tmp_path: Path) -> None:
    failing = tmp_path / "failing.py"
    failing.write_text("raise ValueError('no such luck')")
    with pytest.raises(BenchmarkError, match="no such luck"):
        compare_imports(day, [failing], repeat=1, tell=_silent)


def test_the_own_yardstick_brings_in_the_same_rows(day: Path, tmp_path: Path) -> None:
    database, parquet = tmp_path / "plain.db", tmp_path / "plain.parquet"
    in_fresh_process("script_run", OWN_YARDSTICK, day, database, parquet, cwd=tmp_path, result=ImportRun)
    records = msgspec.json.decode(day.read_bytes())
    expected = [
        (record["timestamp"] * 1000, *map(float, strike[:3]), [float(value) for value in strike[3]])
        for record in records
        for strike in record["strikes"]
    ]
    with duckdb.connect(str(database), read_only=True) as connection:
        stored = connection.execute("SELECT timestamp, strike, gamma, oi_gamma, priors FROM gex_strikes").fetchall()
        published = connection.execute(
            "SELECT timestamp, strike, gamma, oi_gamma, priors FROM read_parquet(?)", [str(parquet)]
        ).fetchall()
        snapshots = connection.execute("SELECT timestamp, spot, zero_gamma FROM gex_snapshots").fetchall()
    assert sorted(stored) == sorted(published) == sorted(expected)
    assert sorted(snapshots) == [(each["timestamp"] * 1000, each["spot"], each["zero_gamma"]) for each in records]


def test_growth_is_measured_into_a_database_that_holds_as_many_rows_and_with_four_times_the_snapshots(
    day: Path, tmp_path: Path
) -> None:
    fourfold = tmp_path / "fourfold" / day.name
    write_fourfold(day, fourfold)
    growth = measure_growth(day, fourfold, rows=5_000, repeat=2, tell=_silent)
    assert (growth.empty.snapshots, growth.grown.snapshots, growth.fourfold.snapshots) == (300, 300, 1_200)
    assert growth.rows == 5_000
    assert growth.fourfold_megabytes / growth.megabytes == pytest.approx(4, rel=0.01)


def test_the_fourfold_file_holds_each_snapshot_four_times_at_other_moments(day: Path, tmp_path: Path) -> None:
    fourfold = tmp_path / "fourfold" / day.name
    write_fourfold(day, fourfold)
    once, four_times = msgspec.json.decode(day.read_bytes()), msgspec.json.decode(fourfold.read_bytes())
    assert four_times == [
        {**record, "timestamp": record["timestamp"] * 1000 + 250 * quarter} for record in once for quarter in range(4)
    ]


def test_captures_of_the_gateway_and_of_what_it_is_compared_with_are_answered() -> None:
    compared = compare_captures(repeat=1, seconds=0.5, tell=_silent)
    assert set(compared.servers) == {OURS, NOTHING, PLAIN}
    for run in compared.servers.values():
        assert min(run.load.answered, run.load.requests_per_second) > 0
        assert run.load.refused == 0
        assert run.load.body_bytes > 6_000
        assert run.cpu_seconds >= 0


def test_a_session_is_answered_and_queryable_while_files_are_imported(day: Path) -> None:
    run = run_session(day, seconds=3, tell=_silent)
    assert (run.load.sent, run.load.failed) == (360, 0)
    assert 0 < run.load.p50_ms <= run.load.p99_ms <= run.load.slowest_ms
    assert run.imports >= 1
    assert 0 < run.queryable_p50_seconds <= run.queryable_p95_seconds


def test_a_crowd_is_answered_and_a_backlog_is_kept_on_the_disk_not_in_memory() -> None:
    backlog = 25_000
    phases = measure_crowd(seconds=0.5, backlog=backlog, tell=_silent)
    assert list(phases) == [BEFORE, DURING, AFTER, BACKLOG_FIRST, BACKLOG_LAST]
    assert all(run.load.answered > run.load.requests_per_second > 0 for run in phases.values())
    assert phases[BACKLOG_LAST].load.refused == 0
    captured_mb = backlog * phases[BACKLOG_LAST].load.body_bytes / 1e6
    assert phases[BACKLOG_LAST].peak_mb - phases[BACKLOG_FIRST].peak_mb < captured_mb / 4


@pytest.mark.parametrize("is_gzip", [False, True])
def test_a_file_whose_name_says_nothing_is_known_by_its_first_record(
    day: Path, tmp_path: Path, *, is_gzip: bool
) -> None:
    nameless = tmp_path / "day.json"
    if is_gzip:
        nameless.write_bytes(gzip.compress(day.read_bytes()))
    else:
        shutil.copy(day, nameless)
    assert partition_of(nameless).key == partition_of(day).key == "2025-11-14|NQ_NDX:gex_zero"


def test_a_file_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    ended = gex("bench", "import", str(tmp_path / "none.json"), data_dir=tmp_path / "data")
    assert ended.returncode == 2
    assert "none.json cannot be read: No such file or directory" in ended.stderr


def test_contenders_take_turns() -> None:
    order: list[str] = []

    def contender(name: str) -> Iterator[str]:
        while True:
            order.append(name)
            yield name

    ours, theirs = contender("ours"), contender("theirs")
    runs = take_turns({"a": lambda _: next(ours), "b": lambda _: next(theirs)}, 3, _silent)
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert runs == {"a": ["ours"] * 3, "b": ["theirs"] * 3}


def test_figures_are_medians_and_the_highest_memory() -> None:
    runs = [
        ImportRun({"stage": seconds, "import": 1.0}, memory, lease_seconds=seconds / 2, snapshots=3, strikes=30)
        for seconds, memory in ((9.0, 100.0), (2.0, 300.0), (4.0, 200.0))
    ]
    figures = summarise(runs)
    assert (figures.seconds, figures.fastest, figures.slowest) == (5.0, 3.0, 10.0)
    assert figures.stages == {"stage": 4.0, "import": 1.0}
    assert (figures.lease_seconds, figures.peak_mb) == (2.0, 300.0)


@pytest.mark.parametrize(
    ("kind", "measured", "word", "status"),
    [
        ("at least", {"speed": 2.0}, "ok", 0),
        ("at least", {"speed": 3.0}, "ok", 0),
        ("at least", {"speed": 1.99}, "LOW", 1),
        ("at least", {}, "LOW", 1),
        ("at most", {"speed": 2.0}, "ok", 0),
        ("at most", {"speed": 2.01}, "HIGH", 1),
        ("at most", {}, "HIGH", 1),
    ],
)
def test_a_benchmark_beyond_its_bound_makes_the_exit_status_1(
    kind: str, measured: dict[str, float], word: str, status: int
) -> None:
    bounds = [Bound("speed", kind, 2.0), Bound("always", "at least", 0.0)]  # type: ignore[arg-type]
    judged, found = judge({"always": 1.0, **measured}, bounds)
    assert ([each.word for each in judged], found) == ([word, "ok"], status)


def test_every_benchmark_has_its_bound_and_every_bound_its_benchmark() -> None:
    ours, theirs, grown, fourfold = (
        summarise([ImportRun({"all": seconds}, memory, lease_seconds=0.5, snapshots=300, strikes=3_000)])
        for seconds, memory in ((2.0, 500.0), (3.0, 800.0), (2.2, 510.0), (6.0, 900.0))
    )
    measured = Measured(
        ImportComparison(150.0, ours, {OWN_YARDSTICK: theirs}),
        Growth(45_000_000, 150.0, 600.0, empty=ours, grown=grown, fourfold=fourfold),
        CaptureComparison(
            {
                OURS: CaptureRun(LoadRun(6_300, 9_000, 0, 2_000, 3, 9, 15), 0.1),
                NOTHING: CaptureRun(LoadRun(6_300, 9_000, 0, 10_000, 1, 2, 3), 0.07),
                PLAIN: CaptureRun(LoadRun(6_300, 100, 0, 20, 300, 400, 500), 30.0),
            }
        ),
        BacklogRun(20_000, 10.0, 300.0),
        QueryRun(
            {
                name: QueryFigures(100, 2_000, 0, p50_ms=1, p95_ms=p95_ms, p99_ms=99)
                for name, p95_ms in ((NEWEST, 4), (PUBLISHED_HOUR, 40), (TODAYS_HOUR, 50))
            },
            imports=3,
            alone=PacedRun(2_400, 0, p50_ms=3, p95_ms=10, p99_ms=20, slowest_ms=30),
            beside=PacedRun(2_400, 0, p50_ms=3, p95_ms=12, p99_ms=20, slowest_ms=30),
        ),
    )
    found = ratios(measured)
    assert set(found) == {bound.benchmark for bound in BOUNDS}
    assert list(found.values()) == pytest.approx(
        [1.5, 0.5, 500, 1.1, 0.75, 900, 0.2, 5, 100, 2_000, 300, 4, 40, 50, 1.2]
    )


def test_a_scratch_folder_is_gone_after_an_error() -> None:
    with suppress(BenchmarkError), scratch_folder() as folder:
        (folder / "file").write_text("something")
        raise BenchmarkError("it failed")
    assert not folder.exists()
