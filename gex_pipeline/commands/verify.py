"""`gex verify`: what is stored is checked again, without importing anything."""

import datetime as dt
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated

import typer

from gex_pipeline.commands.options import DataDir, Feeds, First, Last
from gex_pipeline.settings import load_settings

if TYPE_CHECKING:
    from rich.progress import Progress

    from gex_pipeline.audit.verifying import VerifiedDay

# The report has all of it.
MOST_SHOWN, MOST_CHARACTERS = 20, 240


def verify(
    feeds: Feeds = None,
    first: First = None,
    last: Last = None,
    samples: Annotated[int, typer.Option(min=0, help="Snapshots of each day compared with its raw file.")] = 5,
    data_dir: DataDir = None,
) -> None:
    """Check again what is stored and write a report; the exit status is 1 when somebody should look at a day."""
    from gex_pipeline.audit.coverage import find_coverage
    from gex_pipeline.audit.report import write_report
    from gex_pipeline.audit.verifying import verify_days
    from gex_pipeline.clock import epoch_ms
    from gex_pipeline.errors import PermanentError
    from gex_pipeline.feeds import Feed, parse_day

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = load_settings(data_dir=data_dir)
    begin, end = (parse_day("--from", first) if first else None), (parse_day("--to", last) if last else None)
    chosen = [Feed.parse(feed) for feed in feeds or []]
    verified: list[VerifiedDay] = []
    try:
        found = find_coverage(settings, chosen, begin, end, epoch_ms())
        known = {day.partition.feed for day in found.days}
        if unknown := [feed.key for feed in chosen if feed not in known]:
            raise PermanentError(f"nothing is known of {', '.join(unknown)} on these days")
        with _progress() as bar:
            verified.extend(bar.track(verify_days(settings, found.days, samples), total=len(found.days)))
    except KeyboardInterrupt:
        typer.echo(f"interrupted after {len(verified):,} days; no report is written")
        raise typer.Exit(130) from None
    report = write_report(settings, verified, found.problem, dt.datetime.now(dt.UTC))
    _show(verified, found.problem)
    typer.echo(f"report: {report} and {report.with_suffix('.parquet').name}")
    if not all(each.is_well for each in verified):
        raise typer.Exit(1)


@contextmanager
def _progress() -> Iterator["Progress"]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar


def _show(verified: "Sequence[VerifiedDay]", problem: str) -> None:
    """Print the days of each feed by state, those that somebody should look at, and a line that sums it up."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from gex_pipeline.audit.report import counts_by_feed, reasons, stretches, summary
    from gex_pipeline.audit.states import STATES

    console = Console(highlight=False)
    table = Table("feed", "days", "warned", "failed", "states")
    for feed, counter in counts_by_feed(verified).items():
        states = [f"{counter[state]:,} {state.replace('_', ' ')}" for state in STATES if counter[state]]
        days = sum(counter[state] for state in STATES)
        table.add_row(
            feed, *(f"{number:,}" for number in (days, counter["warned"], counter["failed"])), ", ".join(states)
        )
    console.print(table)
    wrong = stretches(verified)
    for each in wrong[:MOST_SHOWN]:
        day = each.days[0].day
        why = escape(shorten(reasons(each.days[0]), MOST_CHARACTERS, placeholder=" ..."))
        console.print(f"{each.dates} {day.partition.feed.key} [bold]{day.state}[/bold]: {why}", soft_wrap=True)
    if left := sum(len(each.days) for each in wrong[MOST_SHOWN:]):
        console.print(f"and {left:,} more days, which the report lists")
    console.print(escape(summary(verified, problem)), soft_wrap=True)
