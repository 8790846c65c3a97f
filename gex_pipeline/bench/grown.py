"""A database that has been recording for weeks: `python -m gex_pipeline.bench.grown ROWS PARTITION DATABASE`.

Its strikes are of the same feed, on the calendar days before the partition's.
"""

import sys
from pathlib import Path

from gex_pipeline.bench.turns import say
from gex_pipeline.history.paths import Partition
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import ensure_schema
from gex_pipeline.trading_days import session_bounds_ms

SNAPSHOTS_A_DAY = 23_400
STRIKES = 100


def grow(database: Path, partition: Partition, rows: int) -> None:
    """Create a database that holds so many rows in `gex_strikes`, in the order in which days came in."""
    snapshots = -(-rows // STRIKES)
    days = -(-snapshots // SNAPSHOTS_A_DAY)
    opened_ms, _ = session_bounds_ms(partition.date)
    first_ms = opened_ms - days * 86_400_000
    moment = f"{first_ms} + n // {SNAPSHOTS_A_DAY} * 86400000 + n % {SNAPSHOTS_A_DAY} * 1000"
    names = [partition.feed.ticker, partition.feed.endpoint]
    with lease(database, purpose="grow") as connection:
        ensure_schema(connection)
        connection.execute(
            "INSERT INTO gex_snapshots (timestamp, ticker, endpoint, spot_price, zero_gamma, source, import_id) "
            f"SELECT {moment}, ?, ?, 25000 + n % 977, 24900 + n % 613, 'history', 0 FROM range({snapshots}) made(n)",
            names,
        ).fetchall()
        connection.execute(
            "INSERT INTO gex_strikes "
            "(timestamp, ticker, endpoint, strike, gamma, oi_gamma, priors, source, import_id) "
            f"SELECT {moment}, ?, ?, 24500 + 10 * (row % {STRIKES}), gamma, gamma - 31.7, "
            "[gamma, gamma + 0.5, gamma - 1.25, gamma + 3, gamma - 7], 'history', 0 "
            f"FROM (SELECT row, row // {STRIKES} AS n, hash(row) % 80000 / 100 - 400 AS gamma "
            f"FROM range({rows}) made(row))",
            names,
        ).fetchall()


def main() -> None:
    """Read the arguments and make the database."""
    rows, key, database = int(sys.argv[1]), Partition.parse(sys.argv[2]), Path(sys.argv[3])
    grow(database, key, rows)
    say(database.stat().st_size)


if __name__ == "__main__":
    main()
