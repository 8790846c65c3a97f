"""Restoring a backup: to a new path, in place, under a running system; what came since comes back once."""

import json
import os
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import duckdb
import msgspec
import pytest
import requests

from gex_pipeline.backups.creating import create_backup
from gex_pipeline.backups.folder import list_backups
from gex_pipeline.backups.restoring import restore_backup
from gex_pipeline.errors import BackupError, LeaseTimeoutError
from gex_pipeline.journal import Kind, encode_record, list_archived, list_segments, name_journal, segment_path
from gex_pipeline.loader.loading import Loader
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import ensure_schema
from gex_pipeline_tests.processes import GatewayProcess, child, gex, rows, running_gateway, wait_until

OPENING = 1_763_130_600
LEGACY = """
CREATE TABLE gex_snapshots (timestamp BIGINT, ticker VARCHAR, spot_price DOUBLE);
CREATE TABLE gex_strikes (timestamp BIGINT, ticker VARCHAR, strike DOUBLE, priors VARCHAR);
INSERT INTO gex_snapshots VALUES (1763130600000, 'SPX', 6734.11)
"""
HOLD_DUCKDB = """
import duckdb
connection = duckdb.connect(sys.argv[1])
print("ready", flush=True)
time.sleep(60)
"""


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


def set_mine(path: Path, value: int) -> None:
    with lease(path, purpose="change") as connection:
        connection.execute("UPDATE mine SET x = ?", [value])


def mine(path: Path) -> int:
    with duckdb.connect(path, read_only=True) as connection:
        found = connection.execute("SELECT x FROM mine").fetchall()
    value: int = found[0][0]
    return value


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


# To a new path


def test_a_restored_file_is_the_database_as_it_was(filled: Settings, tmp_path: Path) -> None:
    was = filled.database_path.read_bytes()
    backup = create_backup(filled, reason="test")
    set_mine(filled.database_path, 2)
    restored = restore_backup(filled, backup.name, to=tmp_path / "new" / "restored.db")
    assert restored.path.read_bytes() == was
    assert restored.path.stat().st_mode & 0o777 == 0o600
    assert restored.kept_aside is None
    assert [path.name for path in restored.path.parent.iterdir()] == ["restored.db"]
    assert (mine(restored.path), mine(filled.database_path)) == (1, 2)


def test_a_file_that_is_there_is_only_replaced_by_force_and_kept_aside(filled: Settings, tmp_path: Path) -> None:
    backup = create_backup(filled, reason="test")
    target = tmp_path / "there.db"
    target.write_text("something")
    with pytest.raises(BackupError, match="exists; name another path with --to, or replace it with --force"):
        restore_backup(filled, backup.name, to=target)
    assert target.read_text() == "something"
    restored = restore_backup(filled, backup.name, to=target, force=True)
    assert mine(target) == 1
    assert restored.kept_aside is not None
    assert restored.kept_aside.read_text() == "something"


def test_a_folder_is_no_place_for_a_file(filled: Settings, tmp_path: Path) -> None:
    backup = create_backup(filled, reason="test")
    with pytest.raises(BackupError, match="is a folder"):
        restore_backup(filled, backup.name, to=tmp_path, force=True)


# In place


def test_in_place_needs_force_and_keeps_the_old_file_aside(filled: Settings) -> None:
    backup = create_backup(filled, reason="test")
    set_mine(filled.database_path, 2)
    with pytest.raises(BackupError, match="--force"):
        restore_backup(filled, backup.name)
    assert mine(filled.database_path) == 2
    restored = restore_backup(filled, backup.name, force=True)
    assert mine(filled.database_path) == 1
    assert restored.kept_aside is not None
    assert restored.kept_aside.parent == filled.data_dir
    assert restored.kept_aside.name.startswith("gex_data.db.20")
    assert restored.kept_aside.suffix == ".replaced"
    assert mine(restored.kept_aside) == 2
    assert restore_backup(filled, backup.name, force=True).kept_aside not in {None, restored.kept_aside}


def test_a_database_that_was_lost_is_restored_without_force(filled: Settings) -> None:
    backup = create_backup(filled, reason="test")
    filled.database_path.unlink()
    assert restore_backup(filled, backup.name).kept_aside is None
    assert mine(filled.database_path) == 1


def test_a_database_that_cannot_be_opened_is_replaced_together_with_its_log(filled: Settings) -> None:
    backup = create_backup(filled, reason="test")
    log = filled.database_path.with_name("gex_data.db.wal")
    filled.database_path.write_bytes(b"ruined" * 1000)
    log.write_bytes(b"ruined too")
    restored = restore_backup(filled, backup.name, force=True)
    assert mine(filled.database_path) == 1
    assert not log.exists()
    assert restored.kept_aside is not None
    assert restored.kept_aside.read_bytes() == b"ruined" * 1000
    assert restored.kept_aside.with_name(f"{restored.kept_aside.name}.wal").read_bytes() == b"ruined too"


def test_commits_in_the_log_are_in_the_file_that_is_kept_aside(filled: Settings) -> None:
    backup = create_backup(filled, reason="test")
    code = """
import duckdb
duckdb.connect(sys.argv[1]).execute("UPDATE mine SET x = 3")
print("ready", flush=True)
time.sleep(60)
"""
    with child(code, filled.database_path) as process:
        process.kill()
        process.wait()
    restored = restore_backup(filled, backup.name, force=True)
    assert restored.kept_aside is not None
    assert (mine(filled.database_path), mine(restored.kept_aside)) == (1, 3)


def test_a_database_behind_a_link_is_replaced_where_it_is(filled: Settings, tmp_path: Path) -> None:
    elsewhere = tmp_path / "disk" / "large.db"
    elsewhere.parent.mkdir()
    filled.database_path.rename(elsewhere)
    filled.database_path.symlink_to(elsewhere)
    backup = create_backup(filled, reason="test")
    set_mine(filled.database_path, 2)
    restored = restore_backup(filled, backup.name, force=True)
    assert filled.database_path.is_symlink()
    assert mine(elsewhere) == 1
    assert restored.kept_aside is not None
    assert restored.kept_aside.parent == elsewhere.parent


def test_a_database_that_is_open_elsewhere_is_not_replaced(filled: Settings) -> None:
    backup = create_backup(filled, reason="test")
    before = filled.database_path.stat().st_ino
    with child(HOLD_DUCKDB, filled.database_path), pytest.raises(LeaseTimeoutError, match="open in another program"):
        restore_backup(filled, backup.name, force=True, lease_timeout_seconds=0.3)
    assert filled.database_path.stat().st_ino == before
    assert [path.name for path in filled.data_dir.iterdir() if "tmp" in path.name or "replaced" in path.name] == []


def test_a_damaged_backup_is_not_restored(filled: Settings, tmp_path: Path) -> None:
    backup = create_backup(filled, reason="test")
    os.truncate(backup.path, backup.path.stat().st_size - 1)
    for to in (None, tmp_path / "new.db"):
        with pytest.raises(BackupError, match="is damaged and was not restored: the file has "):
            restore_backup(filled, backup.name, to=to, force=True)
    assert mine(filled.database_path) == 1
    assert not (tmp_path / "new.db").exists()
    with pytest.raises(BackupError, match="there is no backup never; gex backup list shows those there are"):
        restore_backup(filled, "never", force=True)


# What came since


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


# While the system runs


class Client:
    """Posts messages, each of them once, until it is told to stop."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.acknowledged: set[int] = set()
        self._gateway = gateway
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with requests.Session() as session:
            number = 0
            while not self._stop.wait(0.005):
                number += 1
                body = ["flow-alerts", {"id": number}]
                with suppress(requests.RequestException):
                    if session.post(f"{self._gateway.url}/uw", json=body, timeout=30).ok:
                        self.acknowledged.add(number)


def stored(gateway: GatewayProcess) -> Counter[int]:
    return Counter(number for (number,) in gateway.rows("SELECT (payload->>'id')::INTEGER FROM universal_webhooks"))


def test_the_running_system_is_backed_up_and_restored_in_place_and_loses_nothing(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data") as gateway:
        settings = load_settings(data_dir=gateway.data_dir)
        with Client(gateway) as client:
            wait_until(lambda: settings.database_path.exists() and stored(gateway), 30)
            for _ in range(3):
                loaded = len(client.acknowledged)
                wait_until(lambda loaded=loaded: len(client.acknowledged) > loaded + 50, 30)  # type: ignore[misc]
                done = gex("backup", "create", data_dir=gateway.data_dir)
                assert (done.returncode, done.stderr) == (0, "")
        gateway.wait_until_loaded()
        first = list_backups(settings.database_backups_dir)[-1]
        assert first.manifest.tables["universal_webhooks"].rows < len(client.acknowledged)
        with duckdb.connect(first.path, read_only=True) as connection:
            numbers = connection.execute("SELECT (payload->>'id')::INTEGER FROM universal_webhooks").fetchall()
        assert sorted(number for (number,) in numbers) == list(range(1, len(numbers) + 1))

        done = gex("backup", "restore", first.name, "--force", data_dir=gateway.data_dir)
        assert (done.returncode, done.stderr) == (0, "")
        # Nothing new is posted: the idle loader has to notice by itself.
        wait_until(lambda: len(stored(gateway)) == len(client.acknowledged), 30)
        assert stored(gateway) == Counter(dict.fromkeys(client.acknowledged, 1))
        assert requests.post(f"{gateway.url}/uw", json=["flow-alerts", {"id": 0}], timeout=30).ok
        wait_until(lambda: stored(gateway)[0] == 1, 30)
        kept = list(gateway.data_dir.glob("gex_data.db.*.replaced"))
        assert len(kept) == 1
        assert str(kept[0]) in done.stdout


# The command line


def test_the_commands_make_list_verify_and_restore(filled: Settings, tmp_path: Path) -> None:
    assert "there is no backup" in gex("backup", "list", data_dir=filled.data_dir).stdout
    made = gex("backup", "create", data_dir=filled.data_dir)
    (backup,) = list_backups(filled.database_backups_dir)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith(f"{backup.path} is verified: 8 tables, 1 rows; ")
    assert f"{backup.path.stat().st_size:,} bytes copied in " in made.stdout or "cloned in" in made.stdout

    listed = gex("backup", "list", data_dir=filled.data_dir).stdout.splitlines()
    assert listed[0].split() == ["NAME", "MB", "ROWS", "VERIFIED", "REASON"]
    assert listed[1].startswith(f"{backup.name}  ")
    assert listed[1].endswith("UTC  by hand")

    for arguments in ([], [backup.name]):
        sound = gex("backup", "verify", *arguments, data_dir=filled.data_dir)
        assert (sound.returncode, sound.stderr) == (0, "")
        assert sound.stdout == f"{backup.path} is sound: 8 tables, 1 rows\n"

    restored = gex("backup", "restore", backup.name, "--to", str(tmp_path / "new.db"), data_dir=filled.data_dir)
    assert (restored.returncode, restored.stderr) == (0, "")
    assert mine(tmp_path / "new.db") == 1
    refused = gex("backup", "restore", backup.name, data_dir=filled.data_dir)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"gex: {filled.database_path} exists; ")
    assert len(refused.stderr.splitlines()) == 1


def test_the_commands_tell_a_damaged_backup_in_words_and_status(filled: Settings) -> None:
    backup = create_backup(filled, reason="test")
    os.truncate(backup.path, backup.path.stat().st_size // 2)
    found = gex("backup", "verify", data_dir=filled.data_dir)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith(f"{backup.path} is damaged:\n  the file has ")
    assert "DAMAGED" in gex("backup", "list", data_dir=filled.data_dir).stdout
    told = "gex: there is no backup never; gex backup list shows those there are\n"
    for command in ("verify", "restore"):
        missing = gex("backup", command, "never", data_dir=filled.data_dir)
        assert (missing.returncode, missing.stdout, missing.stderr) == (2, "", told)
    manifest = backup.path.with_suffix(".json")
    assert json.loads(manifest.read_text())["problems"]
