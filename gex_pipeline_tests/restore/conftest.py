"""A data folder with a journal, and a database with a table of one row."""

from pathlib import Path

import pytest

from gex_pipeline.journal import name_journal
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import ensure_schema


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = load_settings(data_dir=tmp_path / "data")
    settings.journal_dir.mkdir(parents=True)
    name_journal(settings.journal_dir)
    return settings


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """A database with a table of one row."""
    with lease(settings.database_path, purpose="fill") as connection:
        ensure_schema(connection)
        connection.execute("CREATE TABLE mine AS SELECT 1 AS x")
    return settings
