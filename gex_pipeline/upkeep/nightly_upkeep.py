"""What goes by itself, old runs, staged files and reports, and what gets smaller: published files."""

import datetime as dt

import dagster as dg

from gex_pipeline.audit.report import delete_old_reports
from gex_pipeline.errors import PermanentError, TransientError
from gex_pipeline.history.reporting import finished_files
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import sha256_of
from gex_pipeline.trading_days import NEW_YORK
from gex_pipeline.upkeep.old_runs import delete_run, old_runs
from gex_pipeline.upkeep.packing import loose_files, pack
from gex_pipeline.upkeep.staged_files import delete_staged


@dg.op
def delete_old_runs(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    """Delete the runs that ended GEX_RUN_KEEP_DAYS ago, except those the partition pages need."""
    if not settings.run_keep_days:
        context.log.info("GEX_RUN_KEEP_DAYS is 0: every run stays")
        return
    run_ids = old_runs(context.instance, settings.run_keep_days, dt.datetime.now(dt.UTC))
    for run_id in run_ids:
        delete_run(context.instance, run_id)
    context.log.info("%s runs that ended more than %g days ago are deleted", len(run_ids), settings.run_keep_days)
    context.add_output_metadata({"runs": len(run_ids)})


@dg.op
def delete_staged_files(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    """Delete the staged files of days that were imported GEX_STAGING_KEEP_DAYS ago and found good."""
    deleted = delete_staged(settings, finished_files(settings, context.instance))
    for partition in deleted:
        context.log.info("the staged files of %s are deleted", partition.key)
    context.add_output_metadata({"days": len(deleted)})


@dg.op
def delete_reports(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    """Delete the reports of audits but the last ones."""
    context.add_output_metadata({"reports": delete_old_reports(settings)})


@dg.op
def pack_published_files(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    """Write the Parquet files again that imports have published; one that cannot be packed is as good as before."""
    saved_bytes = files = 0
    for partition, table in loose_files(settings):
        try:
            packed = pack(settings, partition, table)
        except (PermanentError, TransientError) as error:
            context.log.warning("%s", error)
            continue
        if packed is None:
            continue
        files += 1
        saved_bytes += packed.size_before - packed.size_after
        context.log_event(
            dg.AssetObservation(
                f"{table}_parquet",
                description="packed, with the same rows",
                partition=partition.key,
                metadata={"size_bytes": packed.size_after, "sha256": sha256_of(packed.path)},
            )
        )
    context.log.info("%s files are packed and take %.1f MB less", files, saved_bytes / 1e6)
    context.add_output_metadata({"files": files, "saved_bytes": saved_bytes})


@dg.job(
    executor_def=dg.in_process_executor,
    description="Delete old runs, staged files of days that are done and old reports, and pack what was published.",
)
def upkeep() -> None:
    """Run all steps; none needs another."""
    delete_old_runs()
    delete_staged_files()
    delete_reports()
    pack_published_files()


nightly_upkeep = dg.ScheduleDefinition(
    name="nightly_upkeep",
    job=upkeep,
    cron_schedule="30 21 * * *",
    execution_timezone=NEW_YORK.key,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="After the nightly backup.",
)
