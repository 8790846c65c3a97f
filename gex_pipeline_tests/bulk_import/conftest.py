"""A folder with files of every kind after one import."""

from pathlib import Path

import pytest

from gex_pipeline_tests.bulk_import.command import PATHS, Told, make_files, run


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    """A folder with files of every kind after one import of all of them, and what that said."""
    folder = tmp_path_factory.mktemp("world")
    make_files(folder)
    return folder, run(folder, *PATHS)
