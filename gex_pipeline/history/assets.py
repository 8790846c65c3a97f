"""The asset group `history`: one trading day of one feed, from its file to the database and to Parquet."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from gex_pipeline.errors import DownloadInterruptedError, PermanentError, SourceUnavailableError, TransientError
from gex_pipeline.history.attempts import record_not_obtained
from gex_pipeline.history.day import export_tables, import_rows, stage_file
from gex_pipeline.history.download import Progress, find_source
from gex_pipeline.history.metadata import (
    describe_exported,
    describe_file,
    describe_imported,
    describe_staged,
    say_imported,
)
from gex_pipeline.history.obtaining import obtain
from gex_pipeline.history.partitions import PARTITIONS
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings

GROUP = "history"
# In the metadata of a failed step: another run may do better.
IS_TRANSIENT = "is_transient"
PROGRESS_SECONDS = 5.0
DOWNLOAD_RETRIES = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)

Context = dg.AssetExecutionContext


@dg.asset(
    partitions_def=PARTITIONS,
    group_name=GROUP,
    kinds={"json"},
)
def history_file(context: Context, settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[None]:
    """The day's history file on disk, whole, with its checksum."""
    started = time.monotonic()
    partition = Partition.parse(context.partition_key)
    with permanent_failures(), _further_attempts(context):
        try:
            obtained = obtain(settings, partition, _progress_log(context))
        except (SourceUnavailableError, DownloadInterruptedError) as error:
            if isinstance(error, PermanentError) or context.retry_number >= DOWNLOAD_RETRIES.max_retries:
                record_not_obtained(settings, partition, context.run.run_id, error)
            raise
    file = obtained.file
    context.log.info("%s: %s, %s bytes", obtained.origin, file.path.name, f"{file.size_bytes:,}")
    return dg.MaterializeResult(metadata=describe_file(file, obtained.origin, time.monotonic() - started))


@dg.multi_asset(
    name="stage_history",
    partitions_def=PARTITIONS,
    specs=[
        dg.AssetSpec(
            f"staged_{table}",
            deps=[history_file],
            group_name=GROUP,
            kinds={"parquet"},
            description=f"The file's {table} as typed rows, each timestamp once; bad records are in quarantine.",
        )
        for table in ("snapshots", "strikes")
    ],
)
def stage_history(context: Context, settings: dg.ResourceParam[Settings]) -> Iterator[dg.MaterializeResult[None]]:
    """Parse the history file into two Parquet files that the checks read."""
    partition = Partition.parse(context.partition_key)
    with permanent_failures():
        source = find_source(settings, partition)
        if source is None:
            raise PermanentError(f"there is no history file for {partition.key}; materialize history_file first")
        staged = stage_file(settings, partition, source, context.run.run_id)
    for asset, metadata in describe_staged(staged).items():
        yield dg.MaterializeResult(asset_key=asset, metadata=metadata)


class ImportConfig(dg.Config):
    """What a run may ask of the import, and only by its run config: no announcement can."""

    replace: bool = Field(
        default=False,
        description="Let stored rows that differ from the file's give way to them; both the rows and the database "
        "are kept in data/backups first. What is equal, and what the file does not have, stays.",
    )


@dg.multi_asset(
    name="import_history",
    partitions_def=PARTITIONS,
    specs=[
        dg.AssetSpec(
            f"gex_{table}",
            deps=["staged_snapshots", "staged_strikes"],
            group_name=GROUP,
            kinds={"duckdb"},
            description=f"The day's rows in the table gex_{table}; what was there before stays as it was.",
        )
        for table in ("snapshots", "strikes")
    ],
)
def import_history(
    context: Context, config: ImportConfig, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None]]:
    """Insert what the database does not have yet, all of it in one transaction."""
    partition = Partition.parse(context.partition_key)
    if config.replace:
        context.log.warning("stored rows of %s that differ from the file give way to its rows", partition.key)
    with permanent_failures():
        result = import_rows(settings, partition, context.run.run_id, replace=config.replace)
    counts = result.counts
    context.log.info("%s; %s were there, %s of them differ", say_imported(result), counts.present, counts.differing)
    for asset, metadata in describe_imported(result).items():
        yield dg.MaterializeResult(asset_key=asset, metadata=metadata)


@dg.multi_asset(
    name="export_history",
    partitions_def=PARTITIONS,
    specs=[
        dg.AssetSpec(
            f"{table}_parquet",
            deps=["gex_snapshots", "gex_strikes", f"live_{table}"],
            group_name=GROUP,
            kinds={"parquet"},
            description=f"All {table} of the day, live and history, sorted by time, in one Parquet file.",
        )
        for table in ("snapshots", "strikes")
    ],
)
def export_history(context: Context, settings: dg.ResourceParam[Settings]) -> Iterator[dg.MaterializeResult[None]]:
    """Write the day from the database to the files that readers use."""
    with permanent_failures():
        started = time.monotonic()
        for table, exported in export_tables(settings, Partition.parse(context.partition_key)):
            asset, metadata = describe_exported(table, exported, time.monotonic() - started)
            yield dg.MaterializeResult(asset_key=asset, metadata=metadata)
            started = time.monotonic()


@contextmanager
def permanent_failures() -> Iterator[None]:
    """Turn an error that another attempt cannot cure into a failure that is not retried, with its message."""
    try:
        yield
    except PermanentError as error:
        raise dg.Failure(description=str(error), metadata=error.details, allow_retries=False) from error


@contextmanager
def _further_attempts(context: Context) -> Iterator[None]:
    """Have what another attempt may cure tried again; at last it is a failure with its message and what is known.

    An asset's own retry policy would also have Dagster try again what somebody terminates.
    """
    try:
        yield
    except TransientError as error:
        failure = dg.Failure(description=str(error), metadata={**error.details, IS_TRANSIENT: True})
        pause = DOWNLOAD_RETRIES.calculate_delay(context.retry_number + 1)
        raise dg.RetryRequested(DOWNLOAD_RETRIES.max_retries, seconds_to_wait=pause) from failure


def _progress_log(context: Context) -> Progress:
    told = time.monotonic()

    def tell(have: int, total: int | None) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            context.log.info("downloaded %.1f MB%s", have / 1e6, f" of {total / 1e6:.1f} MB" if total else "")

    return tell
