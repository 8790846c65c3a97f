"""`gex export`: days from the database to the Parquet files that readers use."""

import signal
from collections import Counter
from typing import TYPE_CHECKING

import typer

from gex_pipeline.commands.options import DataDir, Feeds, First, Last
from gex_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    import dagster as dg

    from gex_pipeline.history.paths import Partition

STATUSES = ("written", "replaced", "unchanged", "failed")


def export_days(feeds: Feeds = None, first: First = None, last: Last = None, data_dir: DataDir = None) -> None:
    """Publish what the database holds as Parquet, day by day, and check it; a file that holds it stays as it is."""
    from gex_pipeline.dagster_home import dagster_instance
    from gex_pipeline.feeds import Feed, parse_day
    from gex_pipeline.history.export_plan import stored_days
    from gex_pipeline.history.reporting import EXPORT, add_feeds, recorded_run

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = load_settings(data_dir=data_dir)
    begin, end = (parse_day("--from", first) if first else None), (parse_day("--to", last) if last else None)
    chosen = [Feed.parse(feed) for feed in feeds or []]
    partitions = stored_days(settings, chosen, begin, end)
    counts: Counter[str] = Counter()
    with dagster_instance(settings) as instance:
        add_feeds(instance, partitions)
        try:
            with recorded_run(instance, EXPORT) as run:
                for partition in partitions:
                    status, reason = _export(settings, instance, run, partition)
                    counts[status] += 1
                    typer.echo(f"{status} {partition.key}{': ' if reason else ''}{reason}")
        except KeyboardInterrupt:
            left = len(partitions) - counts.total()
            typer.echo(f"interrupted with {left:,} days left; the same command goes on with them")
            raise typer.Exit(130) from None
    typer.echo(", ".join(f"{counts[status]:,} {status}" for status in STATUSES))
    if counts["failed"]:
        raise typer.Exit(1)


def _export(
    settings: Settings, instance: "dg.DagsterInstance", run: "dg.DagsterRun", partition: "Partition"
) -> tuple[str, str]:
    """Export, check and report one day; return what became of it and, when it failed, why."""
    from gex_pipeline.history.bulk import FAILURES
    from gex_pipeline.history.day import export_tables
    from gex_pipeline.history.judging import PUBLISHED, failures, judge
    from gex_pipeline.history.reporting import report_export

    try:
        exported = list(export_tables(settings, partition))
        judged = tuple(zip(PUBLISHED, judge(PUBLISHED, settings, partition), strict=True))
    except FAILURES as error:
        return "failed", str(error)
    report_export(instance, run, partition, exported, judged)
    if wrong := failures(judged):
        return "failed", wrong
    if all(each.is_unchanged for _, each in exported):
        return "unchanged", ""
    return ("replaced" if any(each.kept_aside for _, each in exported) else "written"), ""
