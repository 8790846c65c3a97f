"""The jobs: history from its file to Parquet, and live days from the database to Parquet."""

import dagster as dg

from gex_pipeline.history.assets import GROUP, export_history

# One process per run: the steps take less time than starting a process for each would.
history_import = dg.define_asset_job(
    "history_import",
    selection=dg.AssetSelection.groups(GROUP),
    executor_def=dg.in_process_executor,
    description="Download, stage, check, import and export one trading day of one feed.",
)

live_export = dg.define_asset_job(
    "live_export",
    selection=dg.AssetSelection.assets(*export_history.keys),
    executor_def=dg.in_process_executor,
    description="Export and check one trading day of one feed, whatever its rows came from.",
)
