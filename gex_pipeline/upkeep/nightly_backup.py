"""The nightly backup of the database."""

import time

import dagster as dg

from gex_pipeline.backups.creating import create_backup
from gex_pipeline.backups.folder import Progress
from gex_pipeline.settings import Settings
from gex_pipeline.trading_days import NEW_YORK

PROGRESS_SECONDS = 5.0


@dg.op
def back_up_database(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    """Back the database up, verify the copy and remove the backups that may go."""
    if not settings.database_path.exists():
        context.log.info("there is no database yet")
        return
    backup = create_backup(settings, reason="nightly", progress=_progress_log(context))
    made = backup.manifest
    context.add_output_metadata(
        {
            "path": dg.MetadataValue.path(str(backup.path)),
            "size_bytes": made.size_bytes,
            "sha256": made.sha256,
            "method": made.method,
            "rows": backup.rows,
            "seconds": made.seconds,
            "lease_seconds": made.lease_seconds,
        }
    )


@dg.job(executor_def=dg.in_process_executor, description="Back the database up and verify the copy.")
def database_backup() -> None:
    """Run the one step."""
    back_up_database()


nightly_backup = dg.ScheduleDefinition(
    name="nightly_backup",
    job=database_backup,
    cron_schedule="30 20 * * *",
    execution_timezone=NEW_YORK.key,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="After the session and its late messages.",
)


def _progress_log(context: dg.OpExecutionContext) -> Progress:
    told, step = time.monotonic(), ""

    def tell(doing: str, done: int, total: int) -> None:
        nonlocal told, step
        if doing != step or time.monotonic() - told > PROGRESS_SECONDS:
            told, step = time.monotonic(), doing
            context.log.info("%s%s", doing, f", {100 * done // total} %" if total else "")

    return tell
