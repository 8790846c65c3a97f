"""`gex import`: files and folders of every kind, in processes of their own, with what Dagster knows of them after."""
