"""The Dagster code location: wiring only."""

import dagster as dg

from gex_pipeline.audit import assets as audit
from gex_pipeline.history import assets, checks, jobs, schedules, sensors, telling
from gex_pipeline.live import assets as live
from gex_pipeline.orphaned_runs import marked_settings
from gex_pipeline.upkeep import failed_runs, nightly_backup, nightly_upkeep

defs = dg.Definitions(
    assets=[
        assets.history_file,
        assets.stage_history,
        assets.import_history,
        assets.export_history,
        audit.coverage,
        *live.live_assets,
    ],
    asset_checks=[checks.staged_checks, checks.stored_checks, checks.published_checks, live.live_checks],
    jobs=[
        jobs.history_import,
        jobs.live_export,
        nightly_backup.database_backup,
        nightly_upkeep.upkeep,
        telling.tell_operators,
        audit.integrity_audit,
    ],
    schedules=[
        schedules.session_export,
        schedules.daily_fetch,
        nightly_backup.nightly_backup,
        nightly_upkeep.nightly_upkeep,
        audit.weekly_audit,
    ],
    sensors=[
        sensors.history_queue_sensor,
        sensors.history_expiry_sensor,
        failed_runs.failed_runs_sensor,
        live.live_tables_sensor,
    ],
    executor=dg.in_process_executor,
    resources={"settings": dg.ResourceDefinition(marked_settings, description="The validated settings.")},
)
