"""The job that imports history."""

import dagster as dg

from gex_pipeline.history.assets import GROUP

# One process per run: the steps take less time than starting a process for each would.
history_import = dg.define_asset_job(
    "history_import",
    selection=dg.AssetSelection.groups(GROUP),
    executor_def=dg.in_process_executor,
    description="Download, stage, check, import and export one trading day of one feed.",
)
