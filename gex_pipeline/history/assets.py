"""The asset group `history`: one trading day of one feed, from its file to the database and to Parquet."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from pydantic import Field

from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import MalformedFileError, PermanentError
from gex_pipeline.history.attempts import Attempt, recorded
from gex_pipeline.history.download import Progress, distrust, find_source
from gex_pipeline.history.exporting import Exported, export_day
from gex_pipeline.history.importing import ImportResult, import_staged
from gex_pipeline.history.obtaining import obtain
from gex_pipeline.history.partitions import PARTITIONS
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.history.staging import stage, staging_lock
from gex_pipeline.history.verdicts import require_sound
from gex_pipeline.settings import Settings
from gex_pipeline.storage.conflicts import summarise_conflicts
from gex_pipeline.trading_days import new_york_time

GROUP = "history"
DATABASE_POOL = "gex_database"
PROGRESS_SECONDS = 5.0
DOWNLOAD_RETRIES = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)

Context = dg.AssetExecutionContext


@dg.asset(partitions_def=PARTITIONS, group_name=GROUP, retry_policy=DOWNLOAD_RETRIES, kinds={"json"})
def history_file(context: Context, settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[None]:
    """The day's history file on disk, whole, with its checksum."""
    started = time.monotonic()
    with permanent_failures():
        obtained = obtain(settings, Partition.parse(context.partition_key), _progress_log(context))
    file = obtained.file
    context.log.info("%s: %s, %s bytes", obtained.origin, file.path.name, f"{file.size_bytes:,}")
    return dg.MaterializeResult(
        metadata={
            "origin": obtained.origin,
            "path": dg.MetadataValue.path(str(file.path)),
            "size_bytes": file.size_bytes,
            "sha256": file.sha256,
            "seconds": round(time.monotonic() - started, 3),
        }
    )


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
    started = time.monotonic()
    partition = Partition.parse(context.partition_key)
    with permanent_failures():
        source = find_source(settings, partition)
        if source is None:
            raise PermanentError(f"there is no history file for {partition.key}; materialize history_file first")
        attempt = Attempt(partition, source.path.name, source.sha256, context.run.run_id, epoch_ms())
        with recorded(settings, attempt):
            try:
                summary = stage(settings, partition, source)
            except MalformedFileError:
                distrust(source)
                raise
    seconds = round(time.monotonic() - started, 3)
    times = {"first": _shown(summary.first_ms), "last": _shown(summary.last_ms)}
    yield dg.MaterializeResult(
        asset_key="staged_snapshots",
        metadata={
            "dagster/partition_row_count": summary.snapshots,
            "records_in_file": summary.records,
            "bad_records": summary.bad,
            "duplicates": summary.duplicates,
            "duplicates_differing": summary.duplicates_differing,
            "sha256": summary.sha256,
            "seconds": seconds,
            **times,
        },
    )
    yield dg.MaterializeResult(
        asset_key="staged_strikes",
        metadata={"dagster/partition_row_count": summary.strikes, "seconds": seconds, **times},
    )


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
    pool=DATABASE_POOL,
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
    # The checks have passed, but another run of this partition may have staged another file since.
    with (
        permanent_failures(),
        staging_lock(settings, partition),
        recorded(settings, Attempt.of_staged(settings, partition, context.run.run_id)),
    ):
        require_sound(settings, partition)
        if config.replace:
            context.log.warning("stored rows of %s that differ from the file give way to its rows", partition.key)
        result = import_staged(settings, partition, context.run.run_id, replace=config.replace)
    counts, summary = result.counts, result.summary
    outcome = _imported(result)
    context.log.info("%s; %s were there, %s of them differ", outcome, counts.present, counts.differing)
    shared: dict[str, str | float] = {
        "outcome": outcome,
        "import_id": result.import_id,
        "sha256": summary.sha256,
        "first": _shown(summary.first_ms),
        "last": _shown(summary.last_ms),
        "lease_seconds": round(result.lease_seconds, 3),
    }
    yield dg.MaterializeResult(
        asset_key="gex_snapshots",
        metadata={
            "rows_inserted": counts.snapshots,
            "rows_present": counts.present,
            "rows_differing": counts.differing,
            **_conflicts(result.conflicts),
            **_replaced(result),
            **shared,
        },
    )
    yield dg.MaterializeResult(asset_key="gex_strikes", metadata={"rows_inserted": counts.strikes, **shared})


@dg.multi_asset(
    name="export_history",
    partitions_def=PARTITIONS,
    pool=DATABASE_POOL,
    specs=[
        dg.AssetSpec(
            f"{table}_parquet",
            deps=["gex_snapshots", "gex_strikes"],
            group_name=GROUP,
            kinds={"parquet"},
            description=f"All {table} of the day, live and history, sorted by time, in one Parquet file.",
        )
        for table in ("snapshots", "strikes")
    ],
)
def export_history(context: Context, settings: dg.ResourceParam[Settings]) -> Iterator[dg.MaterializeResult[None]]:
    """Write the day from the database to the files that readers use."""
    tables: tuple[Table, Table] = ("snapshots", "strikes")
    for table in tables:
        started = time.monotonic()
        with permanent_failures():
            exported = export_day(settings, Partition.parse(context.partition_key), table)
        yield dg.MaterializeResult(
            asset_key=f"{table}_parquet",
            metadata={
                "dagster/partition_row_count": exported.rows,
                "outcome": _outcome(exported),
                "path": dg.MetadataValue.path(str(exported.path)),
                "size_bytes": exported.size_bytes,
                "sha256": exported.sha256,
                "seconds": round(time.monotonic() - started, 3),
            },
        )


@contextmanager
def permanent_failures() -> Iterator[None]:
    """Turn an error that another attempt cannot cure into a failure that is not retried, with its message."""
    try:
        yield
    except PermanentError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error


def _imported(result: ImportResult) -> str:
    if result.unchanged_since is not None:
        return f"unchanged: these bytes are import {result.unchanged_since} already"
    counts = result.counts
    outcome = f"imported {counts.snapshots:,} snapshots and {counts.strikes:,} strikes"
    return f"{outcome}, {counts.replaced:,} snapshots instead of stored ones" if counts.replaced else outcome


def _replaced(result: ImportResult) -> dict[str, dg.MetadataValue]:
    """Return where the rows are that were replaced, for an asset's metadata; nothing when none were."""
    if not result.replaced_rows:
        return {}
    snapshots, strikes = (dg.MetadataValue.path(str(path)) for path in result.replaced_rows)
    replaced = dg.MetadataValue.int(result.counts.replaced)
    return {"rows_replaced": replaced, "replaced_snapshots": snapshots, "replaced_strikes": strikes}


def _conflicts(report: Path | None) -> dict[str, dg.MetadataValue]:
    """Return what a report of differing observations says, for an asset's metadata; nothing without a report."""
    if report is None:
        return {}
    fields, examples = summarise_conflicts(report)
    return {
        "fields_differing": dg.MetadataValue.int(fields),
        "conflicts": dg.MetadataValue.path(str(report)),
        "examples": dg.MetadataValue.json(examples),
    }


def _outcome(exported: Exported) -> str:
    if exported.is_unchanged:
        return "unchanged"
    return f"replaced; the old file is {exported.kept_aside}" if exported.kept_aside else "written"


def _shown(timestamp_ms: int | None) -> str:
    """Return a moment in New York time with its offset; empty for none."""
    return new_york_time(timestamp_ms).isoformat() if timestamp_ms is not None else ""


def _progress_log(context: Context) -> Progress:
    told = time.monotonic()

    def tell(have: int, total: int | None) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            context.log.info("downloaded %.1f MB%s", have / 1e6, f" of {total / 1e6:.1f} MB" if total else "")

    return tell
