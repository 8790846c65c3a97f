"""What is kept: the DuckDB file, its leases, Parquet and quarantine files, lineage and the request queue."""
