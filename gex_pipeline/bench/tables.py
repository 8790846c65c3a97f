"""What was measured, as tables for a person."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from gex_pipeline.bench.backfill_bench import BackfillRun
from gex_pipeline.bench.backlog_run import BacklogRun
from gex_pipeline.bench.capture_bench import CLIENTS, CaptureComparison
from gex_pipeline.bench.capture_bench import OURS as GATEWAY
from gex_pipeline.bench.crowd_bench import CrowdRun
from gex_pipeline.bench.floors import Judged
from gex_pipeline.bench.growth_bench import EMPTY, FOURFOLD, GROWN, Growth
from gex_pipeline.bench.import_bench import OURS, ImportComparison
from gex_pipeline.bench.instance_bench import InstanceComparison
from gex_pipeline.bench.load import LoadRun
from gex_pipeline.bench.query_bench import QueryRun
from gex_pipeline.bench.runs import ImportFigures
from gex_pipeline.bench.session_bench import SessionRun


def import_tables(compared: ImportComparison) -> list[Table]:
    """Return where our time goes, and how fast everybody was."""
    ours = compared.ours
    size = f"{ours.snapshots:,} snapshots, {ours.strikes:,} strikes, {compared.megabytes:,.1f} MB"
    stages = _table(f"{OURS}: {size}", "stage", "seconds")
    for stage, seconds in ours.stages.items():
        stages.add_row(stage, f"{seconds:.3f}")
    stages.add_row("total", f"{ours.seconds:.3f}", style="bold")
    stages.add_row("of it the database was held to write", f"{ours.lease_seconds:.3f}")
    speeds = _table(
        "Speed and memory", "import", "seconds", "from", "to", "snapshots/s", "strikes/s", "MB/s", "peak MB", "ratio"
    )
    speeds.add_row(OURS, *_speed(compared, ours), "1.00")
    for script, figures in compared.yardsticks.items():
        speeds.add_row(script.name, *_speed(compared, figures), f"{compared.ratio(script):.2f}")
    return [stages, speeds]


def growth_table(growth: Growth) -> Table:
    """Return how imports grow with the database and with the file."""
    table = _table("Growth", "import", "seconds", "from", "to", "lease s", "peak MB", "ratio")
    lines = (
        (EMPTY, growth.empty, "1.00"),
        (f"{GROWN} ({growth.rows:,} strikes)", growth.grown, f"{growth.grown_ratio:.2f}"),
        (f"{FOURFOLD} ({growth.fourfold_megabytes:,.1f} MB)", growth.fourfold, f"{growth.fourfold_ratio:.2f} per MB"),
    )
    for name, figures, ratio in lines:
        table.add_row(name, *_seconds(figures), f"{figures.lease_seconds:.3f}", f"{figures.peak_mb:,.0f}", ratio)
    return table


def capture_table(compared: CaptureComparison) -> Table:
    """Return how fast captures are answered."""
    title = f"Captures: {CLIENTS} clients, bodies of {compared.servers[GATEWAY].load.body_bytes:,} bytes"
    table = _table(title, "server", "requests/s", "p50 ms", "p95 ms", "p99 ms", "CPU s per 1,000", "gateway / it")
    for name, run in compared.servers.items():
        table.add_row(name, *_load_figures(run.load), f"{run.cpu_seconds:.3f}", f"{compared.ratio(name):.2f}")
    return table


def instance_table(compared: InstanceComparison) -> Table:
    """Return what a grown instance takes: seconds the first time and later, ratios of the later ones."""
    few, many = compared.few, compared.many
    title = f"Dagster with {many.partitions:,} materialized partitions ({many.megabytes:,.0f} MB)"
    table = _table(
        title, "what", f"s with {few.partitions:,}", "first", f"s with {many.partitions:,}", "first", "ratio"
    )
    for name, (first, later) in many.seconds.items():
        few_first, few_later = few.seconds[name]
        figures = (few_later, few_first, later, first)
        table.add_row(name, *(f"{seconds:.3f}" for seconds in figures), f"{later / few_later:.1f}")
    return table


def session_table(run: SessionRun) -> Table:
    """Return what a live session's clients saw, and when its rows could be queried."""
    title = f"A live session: {run.load.sent:,} captures, {run.imports} imports and {run.backups} backups meanwhile"
    table = _table(title, "from", "p50 ms", "p95 ms", "p99 ms", "slowest ms", "failed")
    load = run.load
    delays = (f"{value:,.1f}" for value in (load.p50_ms, load.p95_ms, load.p99_ms, load.slowest_ms))
    table.add_row("request due to answer", *delays, f"{load.failed:,}")
    waits = (f"{seconds * 1000:,.0f}" for seconds in (run.queryable_p50_seconds, run.queryable_p95_seconds))
    table.add_row("answer to row in DuckDB", *waits, "", "", "")
    return table


def query_tables(run: QueryRun) -> list[Table]:
    """Return how long readers waited, and captures with and without them."""
    title = f"Queries beside captures and {run.imports} imports"
    queries = _table(title, "query", "answers", "bytes", "lacking", "p50 ms", "p95 ms", "p99 ms")
    for name, each in run.queries.items():
        delays = (f"{value:.1f}" for value in (each.p50_ms, each.p95_ms, each.p99_ms))
        queries.add_row(name, f"{each.answers:,}", f"{each.size_bytes:,}", f"{each.lacking:,}", *delays)
    captures = _table("Captures beside imports", "captures", "sent", "failed", "p50 ms", "p95 ms", "p99 ms")
    for name, load in (("without readers", run.alone), ("with readers", run.beside)):
        delays = (f"{value:.1f}" for value in (load.p50_ms, load.p95_ms, load.p99_ms))
        captures.add_row(name, f"{load.sent:,}", f"{load.failed:,}", *delays)
    return [queries, captures]


def crowd_table(phases: Mapping[str, CrowdRun]) -> Table:
    """Return how the gateway bears a crowd and a backlog."""
    table = _table("Strain", "phase", "requests/s", "p50 ms", "p95 ms", "p99 ms", "answered", "refused", "peak MB")
    for phase, run in phases.items():
        counts = (f"{run.load.answered:,}", f"{run.load.refused:,}")
        table.add_row(phase, *_load_figures(run.load), *counts, f"{run.peak_mb:,.0f}")
    return table


def backlog_table(run: BacklogRun) -> Table:
    """Return how fast a backlog is loaded."""
    table = _table("Backlog: snapshots of 100 strikes", "snapshots", "seconds", "snapshots/s", "peak MB")
    table.add_row(f"{run.snapshots:,}", f"{run.seconds:.2f}", f"{run.per_second:,.0f}", f"{run.peak_mb:,.0f}")
    return table


def backfill_table(run: BackfillRun) -> Table:
    """Return what each partition of a backfill cost."""
    table = _table("Backfill", "partitions", "seconds", "s/partition", "first run ended after", "refused by the API")
    figures = [f"{run.seconds:.0f}", f"{run.per_partition:.2f}", f"{run.first_run_seconds:.0f} s"]
    table.add_row(f"{run.partitions}", *figures, f"{run.refused}")
    return table


def verdict_table(judged: Sequence[Judged]) -> Table:
    """Return every benchmark with what it has to reach."""
    table = _table("Floors", "benchmark", "measured", "floor", "")
    for each in judged:
        colour = "green" if each.holds else "red"
        limit = f"{each.bound.kind} {each.bound.limit:,.5g}"
        table.add_row(each.bound.benchmark, f"{each.measured:,.4g}", limit, f"[{colour}]{each.word}[/]")
    return table


def _load_figures(load: LoadRun) -> list[str]:
    delays = (f"{value:.2f}" for value in (load.p50_ms, load.p95_ms, load.p99_ms))
    return [f"{load.requests_per_second:,.0f}", *delays]


def _speed(compared: ImportComparison, figures: ImportFigures) -> list[str]:
    per_second = (compared.ours.snapshots, compared.ours.strikes, compared.megabytes)
    rates = (f"{amount / figures.seconds:,.0f}" for amount in per_second)
    return [*_seconds(figures), *rates, f"{figures.peak_mb:,.0f}"]


def _seconds(figures: ImportFigures) -> list[str]:
    return [f"{value:.2f}" for value in (figures.seconds, figures.fastest, figures.slowest)]


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(first, title=title, title_justify="left")
    for name in others:
        table.add_column(name, justify="right")
    return table
