"""A database with tables of ours and of a user."""

from pathlib import Path

import pytest

from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import ensure_schema
from gex_pipeline_tests.backups.backed_up import ODD_TABLES


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A database with tables of ours and of a user's."""
    settings = load_settings(data_dir=tmp_path / "data")
    with lease(settings.database_path, purpose="fill") as connection:
        ensure_schema(connection)
        for statement in ODD_TABLES:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO gex_strikes BY NAME SELECT range AS timestamp, 'SPX' AS ticker, random() AS strike, "
            "CASE range % 3 WHEN 0 THEN [random()] WHEN 1 THEN [] END AS priors FROM range(1000)"
        )
    return settings
