"""History files as Dagster assets: download, stage, check, import, export."""
