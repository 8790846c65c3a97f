"""A user's database from before this system: adopted as it is, and its rows stay what they were whatever comes."""

from __future__ import annotations  # evaluated, they would keep DuckDB types alive

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from gex_pipeline.demo.sessions import Session, snapshots, write_history_file
from gex_pipeline.formats.columns import PUBLISHED_STRIKES_SCHEMA
from gex_pipeline.history.day import export_tables
from gex_pipeline.history.judging import PUBLISHED, judge
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import missing_schema
from gex_pipeline_tests.processes import gex, rows, running_gateway

# The day that a file is imported for, one that the old rows do not have, and one that is only exported.
OVERLAPPING, NEW, OLD = (Partition.parse(f"2025-11-{day}|SPX:gex_zero") for day in (14, 17, 13))
STRIKES, OLD_SNAPSHOTS, FILE_SNAPSHOTS, CAPTURES = 10, 5000, 60, 20
OPENING_MS = 1_763_130_601_000
DAY_MS = 86_400_000
TABLES: tuple[Table, Table] = ("snapshots", "strikes")

# Numbers as the old recorder declared them, and as other recorders did.
VARIANTS = {
    "theirs": {"number": "DOUBLE", "level": "DOUBLE", "whole": "INTEGER", "priors": "VARCHAR"},
    "others": {"number": "REAL", "level": "DECIMAL(18, 3)", "whole": "BIGINT", "priors": "FLOAT[]"},
}
LEGACY = """
CREATE TABLE gex_snapshots(timestamp BIGINT, ticker VARCHAR, spot_price {number}, zero_gamma {number},
    net_gex {number}, min_dte {whole}, sec_min_dte {whole}, major_pos_vol {number}, major_pos_oi {number},
    major_neg_vol {number}, major_neg_oi {number}, sum_gex_vol {number}, sum_gex_oi {number},
    delta_risk_reversal {number}, max_priors VARCHAR, note VARCHAR, "My Column" STRUCT(a INTEGER, b VARCHAR[]));
CREATE TABLE gex_strikes(timestamp BIGINT, ticker VARCHAR, strike {level}, gamma {level}, oi_gamma {level},
    priors {priors}, note VARCHAR);
CREATE TABLE my_trades(id INTEGER PRIMARY KEY, traded TIMESTAMP, price DECIMAL(9, 2));
CREATE VIEW my_view AS SELECT ticker, count(*) AS snapshots FROM gex_snapshots GROUP BY ticker;
INSERT INTO my_trades SELECT range,
    TIMESTAMP '2025-11-13 15:00:00' + to_seconds(range), range / 7 FROM range(50);
"""
# The old rows end on the day of the file, 30 snapshots into it, the two days before being full.
OLD_ROWS = """
INSERT INTO gex_snapshots SELECT {time}, 'SPX', 6734.11 + n % 9 / 7, 6712.95, NULL, 0, 1, 6735, 6740, 6700, NULL,
    n * 1.125, -n, 0.118, '[[6735, ' || n || ']]', CASE WHEN n % 3 = 0 THEN 'mine' END, {{'a': n, 'b': ['x', NULL]}}
    FROM range({snapshots}) AS of_snapshots(n);
INSERT INTO gex_strikes SELECT {time}, 'SPX', 6700 + 5 * strike + 0.21, n / 7 - strike,
    CASE WHEN n % 5 > 0 THEN n END, {priors}, NULL
    FROM range({snapshots}) AS of_snapshots(n), range({strikes}) AS of_strikes(strike);
"""
ODD_ROWS = """
INSERT INTO gex_snapshots (timestamp, ticker, spot_price, note) VALUES
    ({old_day}, NULL, 1, 'no ticker'), (NULL, 'SPX', 2, 'no time'), (-5, 'spx', 3, 'long ago'),
    ({old_day} + 500, 'IT''S', NULL, 'a name'), (9000000000000000, 'SPX', 4, 'in the far future');
INSERT INTO gex_snapshots SELECT * FROM gex_snapshots WHERE timestamp BETWEEN {old_day} AND {old_day} + 5000;
INSERT INTO gex_strikes SELECT * FROM gex_strikes WHERE timestamp BETWEEN {old_day} AND {old_day} + 5000;
INSERT INTO gex_strikes (timestamp, ticker, note) VALUES (NULL, NULL, NULL), (-5, 'spx', 'no snapshot at all');
"""
PRIORS = "'[' || n || ', ' || strike || '.25, null, 3, 1e-7]'"
ODD_PRIORS = """
INSERT INTO gex_strikes VALUES ({old_day}, 'SPX', 1, 2, 3, 'not JSON', 'odd'), ({old_day}, 'SPX', 2, 2, 3, '', 'odd'),
    ({old_day}, 'SPX', 3, 2, 3, '{{"a": 1}}', 'odd'), ({old_day}, 'SPX', 4, 2, 3, '[1,  2]', 'odd');
"""

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Legacy:
    """A data folder with an old database, and what that held."""

    settings: Settings
    own_columns: dict[str, list[str]]
    held: dict[str, Row]

    def query(self, sql: str) -> list[Row]:
        return rows(self.settings.database_path, sql)

    def holds(self) -> dict[str, Row]:
        """Return number and checksum of all old rows in all old columns, and what other tables and views say."""
        is_adopted = bool(self.query("SELECT 1 FROM duckdb_columns() WHERE column_name = 'import_id'"))
        return held(self.settings.database_path, self.own_columns, "source IS NULL" if is_adopted else "true")


def held(path: Path, columns: dict[str, list[str]], condition: str) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for table, names in columns.items():
        sums = ", ".join(f"sum(hash({name})::HUGEINT)" for name in names)
        [found[table]] = rows(
            path,
            f"SELECT count(*), sum(hash({', '.join(names)})::HUGEINT), {sums} FROM {table} WHERE {condition}",  # noqa: S608
        )
    found["my_trades"] = tuple(rows(path, "FROM my_trades ORDER BY ALL"))
    found["views"] = tuple(rows(path, "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal"))
    return found


@pytest.fixture(params=VARIANTS)
def legacy(request: pytest.FixtureRequest, tmp_path: Path) -> Legacy:
    """A user's file with tables of every kind: ours in other types and with more columns, and theirs."""
    types = VARIANTS[request.param]
    settings = load_settings(data_dir=tmp_path / "data")
    settings.data_dir.mkdir()
    # Two whole days before, then the first half of the file's minute.
    days = f"{OPENING_MS} + CASE WHEN n < 30 THEN n * 1000 ELSE (n % 2 - 2) * {DAY_MS} + n * 1000 END"
    is_text = "[]" not in types["priors"]
    sql = [
        LEGACY.format(**types),
        OLD_ROWS.format(
            time=days,
            snapshots=OLD_SNAPSHOTS,
            strikes=STRIKES,
            priors=PRIORS if is_text else "[n, strike, NULL, 0.1]",
        ),
        ODD_ROWS.format(old_day=OPENING_MS - DAY_MS + 31_000),
    ]
    if types["priors"] == "VARCHAR":
        sql.append(ODD_PRIORS.format(old_day=OPENING_MS - DAY_MS + 31_000))
    with duckdb.connect(settings.database_path) as connection:
        for statements in sql:
            connection.execute(statements)
        own = {
            f"gex_{table}": [f'"{row[0]}"' for row in connection.execute(f"DESCRIBE gex_{table}").fetchall()]
            for table in TABLES
        }
    return Legacy(settings, own, held(settings.database_path, own, "true"))


def write_file(folder: Path, partition: Partition) -> Session:
    session = Session(feed=partition.feed, date=partition.date, snapshots=FILE_SNAPSHOTS, strikes=STRIKES)
    (folder / "files").mkdir(exist_ok=True)
    write_history_file(folder / "files" / f"{partition.date}_SPX_classic_gex_zero.json", session)
    return session


def test_old_rows_stay_what_they_were_and_are_used_together_with_new_ones(legacy: Legacy, tmp_path: Path) -> None:
    settings = legacy.settings
    with running_gateway(settings.data_dir) as gateway:
        for second in range(CAPTURES):
            # Half of them at times that an old row has.
            snapshot = {"timestamp": OPENING_MS // 1000 + 20 + second, "ticker": "SPX", "spot": 6800.1}
            answer = requests.post(f"{gateway.url}/gex", json=snapshot | {"strikes": [[6700, 1.1, 2]]}, timeout=30)
            assert answer.status_code == 202
        gateway.wait_until_loaded()
    assert legacy.query("SELECT count(*) FROM gex_snapshots WHERE source = 'live'") == [(CAPTURES // 2,)]
    assert legacy.holds() == legacy.held

    sessions = [write_file(tmp_path, partition) for partition in (OVERLAPPING, NEW)]
    told = gex("import", "files", data_dir=settings.data_dir)
    assert (told.returncode, told.stdout.strip()) == (0, "2 imported, 0 skipped, 0 refused, 0 failed"), told.stderr
    assert legacy.query(
        "SELECT records_imported, records_present FROM data_lineage WHERE record_type = 'history' ORDER BY date"
    ) == [(FILE_SNAPSHOTS - 40, 40), (FILE_SNAPSHOTS, 0)]
    assert legacy.holds() == legacy.held

    day = pq.read_table(OVERLAPPING.published(settings, "snapshots"))
    assert day.column("timestamp").to_pylist() == [each["timestamp"] * 1000 for each in snapshots(sessions[0])]  # type: ignore[operator]
    assert day.column("source").to_pylist() == [None] * 30 + ["live"] * 10 + ["history"] * 20
    since = f"SELECT count(*) FROM gex_strikes WHERE timestamp >= {OPENING_MS} AND ticker = 'SPX'"  # noqa: S608
    assert legacy.query(since) == [
        (pq.read_metadata(OVERLAPPING.published(settings, "strikes")).num_rows + FILE_SNAPSHOTS * STRIKES,)
    ]

    for table, exported in export_tables(settings, OLD):
        assert (
            exported.rows
            == legacy.query(
                f"SELECT count(*) FROM gex_{table} WHERE ticker = 'SPX' "  # noqa: S608
                f"AND timestamp BETWEEN {OPENING_MS - 2 * DAY_MS // 2} AND {OPENING_MS - DAY_MS // 2}"
            )[0][0]
        )
    judged = zip(PUBLISHED, judge(PUBLISHED, settings, OLD), strict=True)
    assert [verdict.passed for check, verdict in judged if not check.is_warning] == [True, True]
    for partition in (OLD, OVERLAPPING, NEW):
        published = pq.read_schema(partition.published(settings, "strikes"))
        assert [kind(field.type) for field in published] == [kind(field.type) for field in PUBLISHED_STRIKES_SCHEMA]

    with lease(settings.database_path, purpose="look", read_only=True) as connection:
        assert missing_schema(connection) == []
    again = gex("import", "files", data_dir=settings.data_dir)
    assert (again.returncode, again.stdout.strip()) == (0, "0 imported, 2 skipped, 0 refused, 0 failed")
    assert legacy.holds() == legacy.held


def kind(found: pa.DataType) -> str:
    """Return a type as it reads, lists by what is in them."""
    return f"list of {found.value_type}" if pa.types.is_list(found) else str(found)
