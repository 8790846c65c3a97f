"""The loader: what is captured while it waits for the database is loaded as soon as it has it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from gex_pipeline.formats.gexbot import Snapshot, parse_snapshot
from gex_pipeline.loader import attempts, batch, reading
from gex_pipeline.loader.attempts import FATAL_DEATHS
from gex_pipeline.loader.loading import Loader
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import standstill
from gex_pipeline_tests.captures import counts, load, new_journal, quarantined, rows, snapshot, write
from gex_pipeline_tests.processes import wait_until

FIRST, WAITING, LATER = snapshot(0), snapshot(1), snapshot(2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return new_journal(tmp_path)


def load_late(settings: Settings, loader: Loader, *meanwhile: object) -> int:
    """Let a loader wait for the database with what is there, capture more, and let it load."""
    with ThreadPoolExecutor(1) as thread:
        with standstill(settings.database_path, purpose="hold it"):
            loaded = thread.submit(loader.load_next)
            wait_until(lambda: has_who_is_next(settings), 30)
            write(settings, "gex", *meanwhile)
        return loaded.result(60)


def has_who_is_next(settings: Settings) -> bool:
    try:
        with FileLock(f"{settings.database_path}.turn.lock").acquire(timeout=0):
            return False
    except Timeout:
        return True


def loaded_before(settings: Settings) -> Loader:
    write(settings, "gex", FIRST)
    loader = load(settings)
    write(settings, "gex", WAITING)
    return loader


def test_what_is_captured_while_the_database_is_waited_for_is_in_the_same_load(settings: Settings) -> None:
    loader = loaded_before(settings)
    assert load_late(settings, loader, LATER, snapshot(3)) == 3
    assert not loader.is_behind
    assert counts(settings)["gex_snapshots"] == 4
    assert Loader(settings).load_next() == 0


def test_a_load_is_no_larger_for_what_is_captured_meanwhile(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = loaded_before(settings)
    monkeypatch.setattr(reading, "BATCH_RECORDS", 3)
    assert load_late(settings, loader, *(snapshot(second) for second in range(2, 7))) == 3
    assert loader.is_behind
    monkeypatch.setattr(reading, "BATCH_RECORDS", 1000)
    monkeypatch.setattr(reading, "BATCH_BYTES", 1000)
    write(settings, "gex", snapshot(7))
    assert load_late(settings, loader, snapshot(8, note="x" * 1000)) == 4
    load(settings)
    assert [row[0] for row in rows(settings, "SELECT count(*) FROM gex_snapshots")] == [9]


def test_a_row_that_came_meanwhile_and_is_refused_costs_no_other(settings: Settings) -> None:
    rows(settings, "CREATE TABLE gex_snapshots (timestamp BIGINT, ticker VARCHAR, UNIQUE (timestamp, ticker))")
    loader = loaded_before(settings)
    load_late(settings, loader, snapshot(1, endpoint="gex_one"), LATER)
    while loader.load_next():
        pass
    assert counts(settings)["gex_snapshots"] == 3
    [bad] = quarantined(settings)
    assert '"gex_one"' in bad["record"]


def test_a_record_that_came_meanwhile_and_no_loader_survives_is_put_aside(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(body: bytes) -> Snapshot:
        if b"poison" in body:
            raise MemoryError
        return parse_snapshot(body)

    loader = loaded_before(settings)
    monkeypatch.setattr(batch, "parse_snapshot", parse)
    with pytest.raises(MemoryError):
        load_late(settings, loader, snapshot(2, note="poison"), snapshot(3))
    for death in range(FATAL_DEATHS):
        monkeypatch.setattr(attempts, "_THIS_PROCESS", f"process {death}")
        with pytest.raises(MemoryError):
            load(settings)
    monkeypatch.setattr(attempts, "_THIS_PROCESS", "the one that knows")
    load(settings)
    assert counts(settings)["gex_snapshots"] == 3
    [bad] = quarantined(settings)
    assert bad["reason"] == f"the loader died of it {FATAL_DEATHS} times"
