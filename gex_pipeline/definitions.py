"""The Dagster code location: wiring only."""

import dagster as dg

from gex_pipeline.history import assets, checks, jobs, schedules, sensors
from gex_pipeline.live import assets as live
from gex_pipeline.settings import load_settings
from gex_pipeline.upkeep import nightly_backup

defs = dg.Definitions(
    assets=[
        assets.history_file,
        assets.stage_history,
        assets.import_history,
        assets.export_history,
        *live.live_assets,
    ],
    asset_checks=[checks.staged_checks, checks.stored_checks, checks.published_checks, live.live_checks],
    jobs=[jobs.history_import, jobs.live_export, nightly_backup.database_backup],
    schedules=[schedules.session_export, schedules.daily_fetch, nightly_backup.nightly_backup],
    sensors=[sensors.history_queue_sensor, sensors.history_expiry_sensor, live.live_tables_sensor],
    executor=dg.in_process_executor,
    resources={"settings": dg.ResourceDefinition(lambda _: load_settings(), description="The validated settings.")},
)
