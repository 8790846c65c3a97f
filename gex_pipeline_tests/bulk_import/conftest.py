"""Folders with files of every kind, and with those of many days, after one import."""

from pathlib import Path
from shutil import copytree

import pytest

from gex_pipeline_tests.bulk_import.command import MANY, PATHS, Told, make_files, run, write


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    """A folder with files of every kind after one import of all of them, and what that said."""
    folder = tmp_path_factory.mktemp("world")
    make_files(folder)
    return folder, run(folder, *PATHS)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with many days that were imported in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for key in MANY:
        write(folder / "many" / f"{key[:10]}_SPX_classic_gex_zero.json", key)
    told = run(folder, "many")
    assert (told.code, told.summary) == (0, f"{len(MANY)} imported, 0 skipped, 0 refused, 0 failed")
    return folder


@pytest.fixture
def many(undisturbed: Path, tmp_path: Path) -> Path:
    """A folder with the same files, of which none is imported."""
    copytree(undisturbed / "many", tmp_path / "many")
    return tmp_path
