"""Every benchmark in one run, with rounds enough for a gate."""

from dataclasses import dataclass
from pathlib import Path

from gex_pipeline.bench import floors
from gex_pipeline.bench.backlog_run import COUNT, BacklogRun, measure_backlog
from gex_pipeline.bench.capture_bench import NOTHING, PLAIN, CaptureComparison, compare_captures
from gex_pipeline.bench.growth_bench import GROWN_ROWS, Growth, measure_growth
from gex_pipeline.bench.import_bench import OWN_YARDSTICK, ImportComparison, compare_imports
from gex_pipeline.bench.query_bench import NEWEST, PUBLISHED_HOUR, TODAYS_HOUR, QueryRun, run_queries
from gex_pipeline.bench.turns import Tell

ROUNDS = 3
CAPTURE_SECONDS = 5.0
QUERY_SECONDS = 20.0


@dataclass(frozen=True)
class Measured:
    """What every benchmark measured."""

    imports: ImportComparison
    growth: Growth
    captures: CaptureComparison
    backlog: BacklogRun
    queries: QueryRun


def measure_everything(day: Path, fourfold: Path, tell: Tell) -> Measured:
    """Run all benchmarks on a generated day and the file with each of its snapshots four times.

    Raises:
        BenchmarkError: a run failed.
    """
    return Measured(
        compare_imports(day, [OWN_YARDSTICK], repeat=ROUNDS, tell=tell),
        measure_growth(day, fourfold, rows=GROWN_ROWS, repeat=ROUNDS, tell=tell),
        compare_captures(repeat=ROUNDS, seconds=CAPTURE_SECONDS, tell=tell),
        measure_backlog(count=COUNT, repeat=ROUNDS, tell=tell),
        run_queries(day, seconds=QUERY_SECONDS, tell=tell),
    )


def ratios(measured: Measured) -> dict[str, float]:
    """Return what the floors speak of, by the name of the benchmark."""
    imports, growth, queries = measured.imports, measured.growth, measured.queries
    return {
        floors.IMPORT_RATIO: imports.ratio(OWN_YARDSTICK),
        floors.IMPORT_LEASE: imports.ours.lease_seconds,
        floors.IMPORT_MEMORY: imports.ours.peak_mb,
        floors.GROWN_RATIO: growth.grown_ratio,
        floors.FOURFOLD_RATIO: growth.fourfold_ratio,
        floors.FOURFOLD_MEMORY: growth.fourfold.peak_mb,
        floors.CAPTURE_RATIO: measured.captures.ratio(NOTHING),
        floors.CAPTURE_TAIL: measured.captures.tail_ratio,
        floors.CAPTURE_GAIN: measured.captures.ratio(PLAIN),
        floors.BACKLOG_SPEED: measured.backlog.per_second,
        floors.BACKLOG_MEMORY: measured.backlog.peak_mb,
        floors.QUERY_NEWEST: queries.queries[NEWEST].p95_ms,
        floors.QUERY_PUBLISHED: queries.queries[PUBLISHED_HOUR].p95_ms,
        floors.QUERY_TODAY: queries.queries[TODAYS_HOUR].p95_ms,
        floors.QUERY_CAPTURES: queries.beside.p95_ms / queries.alone.p95_ms,
    }
