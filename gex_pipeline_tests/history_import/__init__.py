"""The job `history_import` through Dagster: from an announced URL to equal rows in the database and in Parquet."""
