"""`gex import`: history files from disk, many at once."""

import datetime as dt
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gex_pipeline.commands.options import DataDir
from gex_pipeline.priority import IMPORTING, give_way
from gex_pipeline.settings import load_settings

if TYPE_CHECKING:
    from gex_pipeline.feeds import HistoryName
    from gex_pipeline.history.bulk import Outcome

Tell = Callable[["Outcome"], None]


def import_paths(
    paths: Annotated[list[Path], typer.Argument(help="Files, and folders that are searched with all theirs.")],
    ticker: Annotated[str | None, typer.Option(help="Of all files, when their names do not say it.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="As --ticker; gex_zero when nothing says it.")] = None,
    date: Annotated[str | None, typer.Option(help="As --ticker: the trading day, YYYY-MM-DD.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Import history files, each in a transaction of its own; run again to go on after an interrupt."""
    from gex_pipeline.dagster_home import dagster_instance
    from gex_pipeline.history.bulk import Outcome, import_files
    from gex_pipeline.history.candidates import find_candidates
    from gex_pipeline.history.reporting import IMPORT, add_feeds, finished_files, recorded_run, report_day

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    give_way(IMPORTING)
    settings = load_settings(data_dir=data_dir)
    candidates, nameless = find_candidates(paths, _given(ticker, endpoint, date))
    counts: Counter[str] = Counter()
    with dagster_instance(settings) as instance, _progress(len(candidates) + len(nameless)) as tell:
        for path, error in nameless:
            tell(Outcome(path, "refused", str(error)))
            counts["refused"] += 1
        add_feeds(instance, [candidate.partition for candidate in candidates])
        finished = finished_files(settings, instance)
        workers = max(1, (os.cpu_count() or 1) - 1)
        try:
            with (
                recorded_run(instance, IMPORT) as run,
                closing(import_files(settings, candidates, finished, run_id=run.run_id, workers=workers)) as outcomes,
            ):
                for outcome in outcomes:
                    if outcome.day is not None:
                        report_day(instance, run, outcome.day)
                    counts[outcome.status] += 1
                    tell(outcome)
        except KeyboardInterrupt:
            left = len(candidates) + len(nameless) - counts.total()
            typer.echo(f"interrupted with {left:,} files left; the same command goes on with them")
            raise typer.Exit(130) from None
    typer.echo(", ".join(f"{counts[status]:,} {status}" for status in ("imported", "skipped", "refused", "failed")))
    if counts["refused"] or counts["failed"]:
        raise typer.Exit(1)


def _given(ticker: str | None, endpoint: str | None, date: str | None) -> "HistoryName":
    from gex_pipeline.errors import RecordError
    from gex_pipeline.feeds import HistoryName, normalise_endpoint, normalise_ticker

    try:
        day = dt.date.fromisoformat(date) if date else None
    except ValueError as error:
        raise RecordError.of("--date", date, "a day such as 2025-11-14") from error
    return HistoryName(
        normalise_ticker(ticker) if ticker else None, normalise_endpoint(endpoint) if endpoint else None, day
    )


@contextmanager
def _progress(total: int) -> Iterator[Tell]:
    """Show a bar on a terminal; elsewhere a line for each file. What went wrong is told either way."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True, soft_wrap=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        files = bar.add_task("", total=total)

        def tell(outcome: "Outcome") -> None:
            bar.advance(files)
            if outcome.reason or not console.is_terminal:
                reason = f": {outcome.reason}" if outcome.reason else ""
                console.print(f"{outcome.status} {escape(str(outcome.path))}{escape(reason)}", highlight=False)

        yield tell
