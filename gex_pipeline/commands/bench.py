"""`gex bench`: what imports and captures cost, beside yardsticks that run in the same minutes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gex_pipeline.commands.options import PLAIN_WIDTH

if TYPE_CHECKING:
    from rich.console import Console

bench_app = typer.Typer(no_args_is_help=True, help="Benchmarks, in scratch folders of their own.")

Repeat = Annotated[int, typer.Option(min=1, help="Rounds; each figure is the median of as many runs.")]


@bench_app.command("import")
def bench_import(
    file: Annotated[
        Path | None, typer.Argument(help="A history file; a full session is made when none is given.")
    ] = None,
    repeat: Repeat = 5,
    against: Annotated[bool, typer.Option("--against", help="Let the project's own yardstick take turns.")] = False,
    yardstick: Annotated[
        list[Path] | None, typer.Option(help="A script to take turns with, called as SCRIPT FILE DB PARQUET.")
    ] = None,
) -> None:
    """Import a day's file again and again, each time in a fresh process into an empty folder."""
    from gex_pipeline.bench.import_bench import OWN_YARDSTICK, compare_imports
    from gex_pipeline.bench.tables import import_tables

    yardsticks = [*([OWN_YARDSTICK] if against else []), *(yardstick or [])]
    with _shown() as (console, tell), _day_file(file, tell) as day:
        for table in import_tables(compare_imports(day, yardsticks, repeat=repeat, tell=tell)):
            console.print(table)


@bench_app.command("growth")
def bench_growth(
    rows: Annotated[int | None, typer.Option(min=1, help="Strikes in the grown database (45 million).")] = None,
    repeat: Repeat = 3,
) -> None:
    """Import into a database that has grown, and a file four times as large, beside one day into an empty one."""
    from gex_pipeline.bench.growth_bench import GROWN_ROWS, measure_growth
    from gex_pipeline.bench.tables import growth_table

    with _shown() as (console, tell), _generated(tell) as (day, fourfold):
        console.print(growth_table(measure_growth(day, fourfold, rows=rows or GROWN_ROWS, repeat=repeat, tell=tell)))


@bench_app.command("capture")
def bench_capture(
    repeat: Repeat = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of load in each run.")] = 10,
) -> None:
    """Post snapshots to the whole gateway, to a route that does nothing, and to one with a connection for each."""
    from gex_pipeline.bench.capture_bench import compare_captures
    from gex_pipeline.bench.tables import capture_table

    with _shown() as (console, tell):
        console.print(capture_table(compare_captures(repeat=repeat, seconds=seconds, tell=tell)))


@bench_app.command("session")
def bench_session(
    seconds: Annotated[float, typer.Option(min=1, help="Of load.")] = 300,
) -> None:
    """Post 120 snapshots a second as a session does, with an import and a backup every 15 seconds."""
    from gex_pipeline.bench.session_bench import run_session
    from gex_pipeline.bench.tables import session_table

    with _shown() as (console, tell), _day_file(None, tell) as day:
        console.print(session_table(run_session(day, seconds=seconds, tell=tell)))


@bench_app.command("query")
def bench_query(
    seconds: Annotated[float, typer.Option(min=1, help="Of load, without readers and again with them.")] = 60,
) -> None:
    """Ask for an hour, a ladder, the newest snapshot beside 120 captures a second and one import after the other."""
    from gex_pipeline.bench.query_bench import run_queries
    from gex_pipeline.bench.tables import query_tables

    with _shown() as (console, tell), _day_file(None, tell) as day:
        for table in query_tables(run_queries(day, seconds=seconds, tell=tell)):
            console.print(table)


@bench_app.command("crowd")
def bench_crowd(
    seconds: Annotated[float, typer.Option(min=0.1, help="Of load in each phase.")] = 10,
    backlog: Annotated[int | None, typer.Option(min=1, help="Captures that nobody loads (an hour's).")] = None,
) -> None:
    """Let 200 clients at the gateway, and let an hour's captures pile up beside a broken database."""
    from gex_pipeline.bench.crowd_bench import HOUR_CAPTURES, measure_crowd
    from gex_pipeline.bench.tables import crowd_table

    with _shown() as (console, tell):
        console.print(crowd_table(measure_crowd(seconds=seconds, backlog=backlog or HOUR_CAPTURES, tell=tell)))


@bench_app.command("backlog")
def bench_backlog(
    snapshots: Annotated[int | None, typer.Option(min=1, help="That wait to be loaded (20,000).")] = None,
    repeat: Repeat = 3,
) -> None:
    """Load the snapshots that the gateway took while nobody loaded, as after an outage."""
    from gex_pipeline.bench.backlog_run import COUNT, measure_backlog
    from gex_pipeline.bench.tables import backlog_table

    with _shown() as (console, tell):
        console.print(backlog_table(measure_backlog(count=snapshots or COUNT, repeat=repeat, tell=tell)))


@bench_app.command("backfill")
def bench_backfill(
    partitions: Annotated[int | None, typer.Option(min=1, max=100, help="Days and feeds (60).")] = None,
) -> None:
    """Backfill small days through `gex up` as the Dagster UI does, from a stand-in for GexBot; takes minutes."""
    from gex_pipeline.bench.backfill_bench import PARTITIONS, measure_backfill
    from gex_pipeline.bench.tables import backfill_table

    with _shown() as (console, tell):
        console.print(backfill_table(measure_backfill(partitions=partitions or PARTITIONS, tell=tell)))


@bench_app.command("instance")
def bench_instance(
    partitions: Annotated[int | None, typer.Option(min=1, max=20_000, help="Materialized ones (10,000).")] = None,
) -> None:
    """Ask Dagster what its UI asks, and tick our sensors, with many materialized partitions beside 100."""
    from gex_pipeline.bench.instance_bench import MANY, compare_instances
    from gex_pipeline.bench.tables import instance_table

    with _shown() as (console, tell):
        console.print(instance_table(compare_instances(partitions=partitions or MANY, tell=tell)))


@bench_app.command("all")
def bench_all() -> None:
    """Run every benchmark (`make bench`); the exit status is 1 when one is under its floor."""
    from gex_pipeline.bench import tables
    from gex_pipeline.bench.everything import measure_everything, ratios
    from gex_pipeline.bench.floors import judge

    with _shown() as (console, tell), _generated(tell) as (day, fourfold):
        measured = measure_everything(day, fourfold, tell)
        for table in tables.import_tables(measured.imports):
            console.print(table)
        console.print(tables.growth_table(measured.growth))
        console.print(tables.capture_table(measured.captures))
        console.print(tables.backlog_table(measured.backlog))
        for table in tables.query_tables(measured.queries):
            console.print(table)
        judged, status = judge(ratios(measured))
        console.print(tables.verdict_table(judged))
    raise typer.Exit(status)


@contextmanager
def _shown() -> Iterator[tuple["Console", Callable[[str], None]]]:
    """Yield where tables go, and a function that says on a terminal what is running."""
    import signal
    import sys

    from rich.console import Console

    # Ctrl-C and SIGTERM both unwind, so that no scratch folder stays behind.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    progress = Console(stderr=True)
    with progress.status("") as status:
        yield console, status.update


@contextmanager
def _day_file(file: Path | None, tell: Callable[[str], None]) -> Iterator[Path]:
    if file is not None:
        yield file
        return
    with _generated(tell) as (day, _):
        yield day


@contextmanager
def _generated(tell: Callable[[str], None]) -> Iterator[tuple[Path, Path]]:
    """Make a full session's file and one four times as large, for the length of a block."""
    from gex_pipeline.bench.session_files import DAY_NAME
    from gex_pipeline.bench.turns import in_fresh_process, scratch_folder

    with scratch_folder() as folder:
        day, fourfold = folder / DAY_NAME, folder / "fourfold" / DAY_NAME
        tell("make a session's file, and one four times as large")
        in_fresh_process("session_files", day, fourfold, cwd=folder, result=int)
        yield day, fourfold
