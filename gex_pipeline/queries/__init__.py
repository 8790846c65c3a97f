"""Reading what was recorded: from published Parquet files, the database, and what was just captured."""
