"""Days that are well, made once."""

from pathlib import Path

import pytest

from gex_pipeline.settings import Settings
from gex_pipeline_tests.audit.stored_days import copied, make_days


@pytest.fixture(scope="session")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that must not be changed."""
    return make_days(tmp_path_factory.mktemp("days") / "data")


@pytest.fixture
def settings(days: Path, tmp_path: Path) -> Settings:
    """A copy of it."""
    return copied(days, tmp_path)
