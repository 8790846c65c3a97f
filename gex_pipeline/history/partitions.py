"""The two partition dimensions: NYSE trading day, and feed."""

import datetime as dt

import click
import dagster as dg
from dagster._core.definitions.partitions.context import PartitionLoadingContext

from gex_pipeline.errors import RecordError
from gex_pipeline.history.paths import Partition
from gex_pipeline.trading_days import FIRST_DAY, NEW_YORK, closed_weekdays, is_trading_day

FEEDS = dg.DynamicPartitionsDefinition(name="feed")
# Dagster has a partition once its window has ended, and counts an end offset in partitions: on a holiday that would
# reach the next trading day. So a day's window is its first minute, and the rest of the day is left out.
TRADING_DAYS = dg.TimeWindowPartitionsDefinition(
    start=FIRST_DAY.isoformat(),
    fmt="%Y-%m-%d",
    timezone=NEW_YORK.key,
    cron_schedule="0,1 0 * * 1-5",
    exclusions=["1 0 * * *", *(dt.datetime.combine(day, dt.time(), NEW_YORK) for day in closed_weekdays())],
)


class HistoryPartitions(dg.MultiPartitionsDefinition):
    """Trading day x feed; a key that does not exist is answered with what to do."""

    def validate_partition_key(self, partition_key: str, context: PartitionLoadingContext) -> None:
        """Accept a key that exists.

        Raises:
            click.ClickException: it does not; shown by the command line as one line.
        """
        try:
            super().validate_partition_key(partition_key, context)
        except dg.DagsterUnknownPartitionError as error:
            raise click.ClickException(explain_unknown(partition_key)) from error


PARTITIONS = HistoryPartitions({"date": TRADING_DAYS, "feed": FEEDS})


def explain_unknown(key: str) -> str:
    """Say why there is no such partition and what to do about it."""
    try:
        partition = Partition.parse(key)
    except (ValueError, RecordError):
        return f"{key!r} is not a partition key; write it as 2025-11-14|NQ_NDX:gex_zero"
    if partition.date < FIRST_DAY or partition.date > dt.datetime.now(NEW_YORK).date():
        return f"{key}: there are partitions from {FIRST_DAY} until today"
    if not is_trading_day(partition.date):
        return f"{key}: {partition.date} is not an NYSE trading day, so there is no file for it"
    if key != partition.key:
        return f"{key}: did you mean {partition.key}?"
    feed = partition.feed.key
    return f"{key}: this Dagster instance does not know the feed {feed} yet; run: gex feeds add {feed}"
