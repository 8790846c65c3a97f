"""A record that ends the loader's process: it is found and put aside, and everything else is loaded."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gex_pipeline.loader import attempts
from gex_pipeline.loader.attempts import FATAL_DEATHS, Attempt, at_work
from gex_pipeline.loader.loading import Loader
from gex_pipeline.settings import Settings
from gex_pipeline_tests.captures import counts, load, new_journal, quarantined, snapshot, write
from gex_pipeline_tests.child_faults import ABORT_ON_POISON, LITTLE_MEMORY, environment_with

# From a whole batch to few records, to the one alone, and alone until it is no chance any more.
DEATHS = 1 + 1 + FATAL_DEATHS


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return new_journal(tmp_path)


def run_loader(settings: Settings, environment: dict[str, str]) -> int:
    command = [sys.executable, "-m", "gex_pipeline.loader", "--once", "--data-dir", str(settings.data_dir)]
    return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).returncode


@pytest.mark.parametrize(("fault", "status"), [(ABORT_ON_POISON, -signal.SIGABRT), (LITTLE_MEMORY, 1)])
def test_a_record_that_kills_every_loader_is_put_aside_and_the_rest_is_loaded(
    settings: Settings, tmp_path: Path, fault: str, status: int
) -> None:
    write(settings, "gex", *(snapshot(second) for second in range(70)))
    write(settings, "gex", snapshot(100, note="poison"))
    write(settings, "gex", *(snapshot(second) for second in range(200, 230)))
    environment = environment_with(fault, tmp_path / "site")
    assert [run_loader(settings, environment) for _ in range(DEATHS + 1)] == [*[status] * DEATHS, 0]
    assert counts(settings)["gex_snapshots"] == 100
    [bad] = quarantined(settings)
    assert bad["reason"] == f"the loader died of it {FATAL_DEATHS} times"
    assert '"note":"poison"' in bad["record"]
    assert not (settings.journal_dir / "loader.attempt").exists()

    write(settings, "gex", snapshot(300))
    assert run_loader(settings, environment) == 0
    assert counts(settings)["gex_snapshots"] == 101


def test_a_loader_that_dies_once_by_chance_costs_no_record(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(settings, "gex", *(snapshot(second) for second in range(70)))
    first = Attempt("journal", 1, 0, 10, 70)
    path = settings.journal_dir / "journal.id"
    path.write_text("journal")
    with monkeypatch.context() as another_process:
        another_process.setattr(attempts, "_THIS_PROCESS", "another")
        with pytest.raises(MemoryError), at_work(settings.journal_dir, first):
            raise MemoryError
    load(settings)
    assert counts(settings)["gex_snapshots"] == 70
    assert not quarantined(settings)


def test_waiting_for_the_database_is_not_what_a_loader_dies_of(settings: Settings) -> None:
    from gex_pipeline.errors import LeaseTimeoutError
    from gex_pipeline.storage.lease import lease

    write(settings, "gex", snapshot(1))
    loader = Loader(settings, lease_timeout_seconds=0.2)
    loader.load_next()
    write(settings, "gex", snapshot(2))
    with lease(settings.database_path, purpose="hold"), pytest.raises(LeaseTimeoutError):
        loader.load_next()
    assert not (settings.journal_dir / "loader.attempt").exists()
