"""A user's database file from before this system."""

from __future__ import annotations  # evaluated, they would keep DuckDB types alive

from pathlib import Path

import duckdb
import pytest

LEGACY = """
CREATE TABLE gex_snapshots(timestamp BIGINT, ticker VARCHAR, spot_price DOUBLE, zero_gamma DOUBLE, net_gex DOUBLE,
    min_dte INTEGER, sec_min_dte INTEGER, major_pos_vol DOUBLE, major_pos_oi DOUBLE, major_neg_vol DOUBLE,
    major_neg_oi DOUBLE, sum_gex_vol DOUBLE, sum_gex_oi DOUBLE, delta_risk_reversal DOUBLE, max_priors VARCHAR,
    note VARCHAR);
CREATE TABLE gex_strikes(timestamp BIGINT, ticker VARCHAR, strike DOUBLE, gamma DOUBLE, oi_gamma DOUBLE,
    priors VARCHAR, note VARCHAR);
INSERT INTO gex_snapshots VALUES
    (1777492800000, 'SPX', 7138.55, 7112.95, NULL, 0, 1, 7135, 7200, 7100, 6900, 1712585.519, 51521.105, 0.118,
        '[[7140, 170979.742]]', 'mine'),
    (1777492801000, 'NQ_NDX', 25197.21, 0, -1.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO gex_strikes VALUES
    (1777492800000, 'SPX', 6890, -228.01, -86.9, '[-240.55, -243.15, null, -221.27, -220.12]', 'mine'),
    (1777492800000, 'SPX', 6895, -48.47, NULL, '[]', NULL),
    (1777492800000, 'SPX', 6900, 0, 0, NULL, NULL);
"""


@pytest.fixture
def legacy(path: Path) -> Path:
    """A user's file from before this system: none of our columns, priors as text, and a column of their own."""
    with duckdb.connect(path) as connection:
        connection.execute(LEGACY)
    return path
