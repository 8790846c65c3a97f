"""Tables made, and a user's adopted."""

from __future__ import annotations  # evaluated, they would keep DuckDB types alive

from pathlib import Path

import duckdb
import pytest

from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import TABLES, column_type, ensure_schema, has_table
from gex_pipeline_tests.processes import rows


def columns(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    found = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [table]
    ).fetchall()
    return dict(found)


def test_a_new_file_gets_every_table_with_its_columns_in_order(path: Path) -> None:
    with lease(path, purpose="create") as connection:
        assert len(ensure_schema(connection)) == len(TABLES)
        for table, declared in TABLES.items():
            types = {name: kind.partition(" DEFAULT")[0].replace(", ", ",") for name, kind in declared.items()}
            assert columns(connection, table) == types
            assert has_table(connection, table)
        assert not has_table(connection, "another_table")
        assert column_type(connection, "gex_strikes", "priors") == "DOUBLE[]"


def test_a_second_look_at_the_schema_does_nothing(path: Path) -> None:
    with lease(path, purpose="create") as connection:
        ensure_schema(connection)
    with lease(path, purpose="look", read_only=True) as connection:
        assert ensure_schema(connection) == []


def test_a_legacy_file_is_adopted_with_its_rows_its_types_and_its_own_columns(legacy: Path) -> None:
    before = {table: rows(legacy, f"FROM {table}") for table in ("gex_snapshots", "gex_strikes")}
    with lease(legacy, purpose="look") as connection:
        types = {table: columns(connection, table) for table in before}
        statements = ensure_schema(connection)
        assert all(statement.startswith(("ALTER TABLE gex_", "CREATE TABLE ")) for statement in statements)
        for table, kept in types.items():
            now = columns(connection, table)
            assert list(now.items())[: len(kept)] == list(kept.items())
            assert now.keys() == kept.keys() | TABLES[table].keys()
            assert connection.execute(f"SELECT {', '.join(kept)} FROM {table}").fetchall() == before[table]  # noqa: S608
            added = f"SELECT DISTINCT endpoint, source, import_id FROM {table}"  # noqa: S608
            assert connection.execute(added).fetchall() == [("gex_zero", None, None)]
        assert column_type(connection, "gex_strikes", "priors") == "VARCHAR"
    with lease(legacy, purpose="look again", read_only=True) as connection:
        assert ensure_schema(connection) == []


def test_a_file_with_some_of_the_tables_gets_the_others(path: Path) -> None:
    with lease(path, purpose="create") as connection:
        ensure_schema(connection)
        connection.execute("DROP TABLE data_lineage")
        connection.execute("ALTER TABLE gex_strikes DROP COLUMN vanna")
        assert [statement.split("(")[0] for statement in ensure_schema(connection)] == [
            "ALTER TABLE gex_strikes ADD COLUMN vanna DOUBLE",
            "CREATE TABLE data_lineage ",
        ]


def test_an_adoption_that_fails_changes_nothing(legacy: Path) -> None:
    with lease(legacy, purpose="prepare") as connection:
        connection.execute("CREATE VIEW loader_position AS SELECT 1 AS x")
        before = {table: columns(connection, table) for table in ("gex_snapshots", "gex_strikes")}
        with pytest.raises(duckdb.Error):
            ensure_schema(connection)
        assert {table: columns(connection, table) for table in before} == before
        assert not has_table(connection, "data_lineage")
