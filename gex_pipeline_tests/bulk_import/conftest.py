"""Folders with files of every kind, and with those of many days, after one import."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from shutil import copytree

import pytest
from filelock import FileLock

from gex_pipeline_tests.bulk_import.command import MANY, PATHS, Told, make_files, run, write


def imported_once(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], Told]) -> tuple[Path, Told]:
    """Return a folder that the first of the test processes to need it fills, and what the import of it said."""
    together = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        together = together.parent
    folder, note = together / name, together / f"{name}.json"
    with FileLock(together / f"{name}.lock"):
        if not note.exists():
            folder.mkdir()
            note.write_text(json.dumps(asdict(fill(folder))))
    return folder, Told(**json.loads(note.read_text()))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    """A folder with files of every kind after one import of all of them, and what that said."""

    def fill(folder: Path) -> Told:
        make_files(folder)
        return run(folder, *PATHS)

    return imported_once(tmp_path_factory, "world", fill)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with many days that were imported in one go."""

    def fill(folder: Path) -> Told:
        for key in MANY:
            write(folder / "many" / f"{key[:10]}_SPX_classic_gex_zero.json", key)
        return run(folder, "many")

    folder, told = imported_once(tmp_path_factory, "undisturbed", fill)
    assert (told.code, told.summary) == (0, f"{len(MANY)} imported, 0 skipped, 0 refused, 0 failed")
    return folder


@pytest.fixture
def many(undisturbed: Path, tmp_path: Path) -> Path:
    """A folder with the same files, of which none is imported."""
    copytree(undisturbed / "many", tmp_path / "many")
    return tmp_path
