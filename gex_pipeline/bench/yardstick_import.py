"""A plain yardstick: a day's file into DuckDB and Parquet, as one writes it in an evening who knows DuckDB well.

`python yardstick_import.py FILE DB PARQUET`. It trusts the file: nothing is checked, nothing that is there already is
looked for, nothing is noted down, and nothing bad survives it.
"""

import sys

import duckdb

NUMBERS = (
    "spot",
    "zero_gamma",
    "major_pos_vol",
    "major_pos_oi",
    "major_neg_vol",
    "major_neg_oi",
    "sum_gex_vol",
    "sum_gex_oi",
    "delta_risk_reversal",
)


def main(file: str, database: str, parquet: str) -> None:
    """Load the file into two new tables and write the strikes to Parquet."""
    columns = {
        "timestamp": "BIGINT",
        "ticker": "VARCHAR",
        "min_dte": "INTEGER",
        "sec_min_dte": "INTEGER",
        **dict.fromkeys(NUMBERS, "DOUBLE"),
        "max_priors": "JSON",
        "strikes": "JSON[][]",
    }
    with duckdb.connect(database) as connection:
        connection.execute(f"CREATE TEMP TABLE day AS FROM read_json(?, columns = {columns})", [file])
        connection.execute(
            "CREATE TABLE gex_snapshots AS SELECT * EXCLUDE strikes REPLACE (timestamp * 1000 AS timestamp), "
            "'gex_zero' AS endpoint FROM day"
        )
        connection.execute(
            "CREATE TABLE gex_strikes AS SELECT timestamp * 1000 AS timestamp, ticker, 'gex_zero' AS endpoint, "
            "each[1]::DOUBLE AS strike, each[2]::DOUBLE AS gamma, each[3]::DOUBLE AS oi_gamma, "
            "each[4]::DOUBLE[] AS priors FROM (SELECT timestamp, ticker, unnest(strikes) AS each FROM day)"
        )
        connection.execute(f"COPY gex_strikes TO '{parquet}' (FORMAT parquet, COMPRESSION zstd)")


if __name__ == "__main__":
    main(*sys.argv[1:4])
