"""What was captured since a backup comes back once, and a file of the user is backed up first."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import duckdb
import msgspec
import pytest

from gex_pipeline.backups.creating import create_backup
from gex_pipeline.backups.folder import list_backups
from gex_pipeline.backups.restoring import restore_backup
from gex_pipeline.journal import Kind, encode_record, list_archived, list_segments, segment_path
from gex_pipeline.loader.loading import Loader
from gex_pipeline.settings import Settings
from gex_pipeline_tests.processes import rows

OPENING = 1_763_130_600
LEGACY = """
CREATE TABLE gex_snapshots (timestamp BIGINT, ticker VARCHAR, spot_price DOUBLE);
CREATE TABLE gex_strikes (timestamp BIGINT, ticker VARCHAR, strike DOUBLE, priors VARCHAR);
INSERT INTO gex_snapshots VALUES (1763130600000, 'SPX', 6734.11)
"""


def capture(settings: Settings, segment: int, *seconds: int) -> None:
    """Write captures to a segment as the gateway does: a snapshot, a message and a trade for each second."""
    with segment_path(settings.journal_dir, segment).open("ab") as file:
        for second in seconds:
            moment = OPENING + second
            trade = {"id": str(second), "executed_at": moment * 1000, "option_chain_id": "SPXW251114C06850000"}
            captures: list[tuple[Kind, object]] = [
                (
                    "gex",
                    {"timestamp": moment, "ticker": "SPX", "spot": second, "strikes": [[100, 1, 2], [101, 1, 2]]},
                ),
                ("uw", ["flow-alerts", {"id": str(second)}]),
                ("uw", ["option_trades:SPXW", trade]),
            ]
            for kind, body in captures:
                file.write(encode_record(kind, moment * 1000, msgspec.json.encode(body)))


def load(loader: Loader) -> None:
    """Load until nothing is left, and archive."""
    while loader.load_next():
        pass
    loader.archive_loaded()


def seconds_loaded(path: Path) -> dict[str, Counter[int]]:
    """Return how often each second's captures are in each table."""
    queries = {
        "snapshots": "SELECT timestamp // 1000 FROM gex_snapshots",
        "strikes": "SELECT timestamp // 1000 FROM gex_strikes",
        "messages": "SELECT (payload->>'id')::BIGINT FROM universal_webhooks WHERE topic = 'flow-alerts'",
        "trades": "SELECT id::BIGINT FROM option_trades_events",
    }
    found = {name: rows(path, query) for name, query in queries.items()}
    return {
        name: Counter(number - OPENING if number >= OPENING else number for (number,) in each)
        for name, each in found.items()
    }


def once(seconds: range) -> dict[str, Counter[int]]:
    each = Counter(dict.fromkeys(seconds, 1))
    return {"snapshots": each, "strikes": each + each, "messages": each, "trades": each}


def restart(settings: Settings, _: Loader) -> Loader:
    return Loader(settings)


def go_on(_: Settings, loader: Loader) -> Loader:
    return loader


@pytest.mark.parametrize("loader_after", [restart, go_on])
def test_captures_since_the_backup_come_back_once_from_the_archive(
    settings: Settings, loader_after: Callable[[Settings, Loader], Loader]
) -> None:
    loader = Loader(settings)
    capture(settings, 1, *range(5))
    load(loader)
    backup = create_backup(settings, reason="test")
    capture(settings, 1, *range(5, 10))
    capture(settings, 2, *range(10, 15))
    capture(settings, 3, *range(15, 20))
    load(loader)
    assert (list_archived(settings.journal_dir), list_segments(settings.journal_dir)) == ([1, 2], [3])
    assert seconds_loaded(settings.database_path) == once(range(20))

    restore_backup(settings, backup.name, force=True)
    assert seconds_loaded(settings.database_path) == once(range(5))
    # Nothing new is captured: it has to notice by itself.
    load(loader_after(settings, loader))
    assert seconds_loaded(settings.database_path) == once(range(20))
    assert rows(settings.database_path, "SELECT sum(records_imported) FROM data_lineage") == [(20,)]


def test_a_user_s_own_file_is_backed_up_before_the_loader_first_changes_it(settings: Settings) -> None:
    with duckdb.connect(settings.database_path) as connection:
        connection.execute(LEGACY)
    was = settings.database_path.read_bytes()
    capture(settings, 1, 5)
    load(Loader(settings))
    (backup,) = list_backups(settings.database_backups_dir)
    assert backup.path.read_bytes() == was
    assert backup.manifest.reason == "before its first use"
    capture(settings, 1, 6)
    load(Loader(settings))
    assert len(list_backups(settings.database_backups_dir)) == 1


def test_captures_are_loaded_when_the_backup_before_them_fails(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with duckdb.connect(settings.database_path) as connection:
        connection.execute(LEGACY)
    settings.backups_dir.mkdir()
    settings.database_backups_dir.write_text("in the way")
    capture(settings, 1, 5)
    load(Loader(settings))
    assert rows(settings.database_path, "SELECT count(*) FROM gex_snapshots") == [(2,)]
    assert any(record.getMessage().startswith("going on without a backup: ") for record in caplog.records)
