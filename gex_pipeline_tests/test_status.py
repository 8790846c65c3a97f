"""`gex status`: how everything is, also when parts of it are down."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from gex_pipeline.backups.creating import create_backup
from gex_pipeline.clock import epoch_ms
from gex_pipeline.dagster_home import dagster_instance
from gex_pipeline.feeds import request_id
from gex_pipeline.history.attempts import Attempt, record_attempt
from gex_pipeline.history.importing import import_staged
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.status.capturing import capturing
from gex_pipeline.status.dagster_runs import dagster
from gex_pipeline.status.parts import Part
from gex_pipeline.status.stored import stored
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.request_queue import mark_failed
from gex_pipeline_tests.gateway_requests import KEY, SNAPSHOT, post
from gex_pipeline_tests.processes import GatewayProcess, child, gex
from gex_pipeline_tests.records import ZERO, announce_url, import_records, record, stage_records

HOLDS = """
from pathlib import Path
from gex_pipeline.storage.lease import lease
with lease(Path(sys.argv[1]), purpose="sit on it"):
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DAGSTER_HOME", "")
    return load_settings(data_dir=tmp_path / "data", port=1, dagster_port=1)


def by_name(parts: list[Part]) -> dict[str, Part]:
    return {part.name: part for part in parts}


def test_where_nothing_runs_it_says_so_and_makes_nothing(tmp_path: Path) -> None:
    said = gex("status", "--port", "1", "--dagster-port", "1", data_dir=tmp_path / "data")
    assert (said.returncode, said.stderr) == (2, "")
    assert "http://127.0.0.1:1: nobody answers there; nothing is captured" in said.stdout
    assert said.stdout.splitlines()[-1] == "not running"
    assert list(tmp_path.iterdir()) == []


def test_a_gateway_with_a_key_alone_is_degraded_and_its_captures_are_counted(guarded: GatewayProcess) -> None:
    assert post(guarded, "/gex", SNAPSHOT, x_api_key=KEY).status_code == 202
    guarded.wait_until_loaded()
    said = gex("status", "--json", "--port", str(guarded.port), "--dagster-port", "1", data_dir=guarded.data_dir)
    plain = gex("status", "--port", str(guarded.port), "--dagster-port", "1", data_dir=guarded.data_dir)
    assert plain.stdout.splitlines()[-1] == "degraded: Dagster UI"
    told = json.loads(said.stdout)
    assert (said.returncode, told["status"]) == (1, "degraded")
    states = {name: part["state"] for name, part in told["parts"].items()}
    assert states == dict.fromkeys(states, "ok") | {"Dagster UI": "down"}
    assert {"gateway", "captures", "loader", "disk", "database", "queue", "last imports", "backups", "runs"} < set(
        states
    )
    assert told["parts"]["captures"]["last_minute"] == 1
    assert told["parts"]["captures"]["backlog_bytes"] == 0
    assert told["parts"]["queue"]["pending"] == 0


def test_what_waits_in_the_journal_of_a_gateway_that_is_down_is_told(settings: Settings) -> None:
    settings.journal_dir.mkdir(parents=True)
    (settings.journal_dir / "00000001.jsonl").write_bytes(b'{"received_at":1,"kind":"gex"}\n')
    captures = by_name(capturing(settings))["captures"]
    assert captures.figures == {"last_minute": 0, "last_ms": 1, "backlog_bytes": 31}


def test_the_queue_and_the_last_imports_with_their_outcome_are_shown(settings: Settings) -> None:
    import_records(settings, record(0), record(1))
    announce_url(settings, ZERO, "https://hist.gex.bot/x.json?sig=SECRET")
    parts = by_name(stored(settings))
    assert parts["queue"].lines == ["announced files: 1 pending, 0 started, 0 completed, 0 failed"]
    [line] = parts["last imports"].lines
    assert line.startswith("2025-11-14 SPX:gex_zero imported, 2 snapshots, ")
    assert "SECRET" not in str(parts)


def test_a_request_that_failed_is_completed_once_its_day_was_imported_by_other_means(settings: Settings) -> None:
    announce_url(settings, ZERO, "https://hist.gex.bot/x.json?sig=SECRET")
    with lease(settings.database_path, purpose="fail") as connection:
        key = request_id(ZERO.feed, ZERO.date)
        mark_failed(connection, key, error="could not be fetched", run_id=None, try_again=False)
    assert by_name(stored(settings))["queue"].figures["failed"] == 1
    import_records(settings, record(0))
    assert by_name(stored(settings))["queue"].figures == dict.fromkeys(("pending", "started", "failed"), 0) | {
        "completed": 1
    }


def test_who_holds_the_database_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gex_pipeline.status.stored.LEASE_SECONDS", 0.2)
    settings.data_dir.mkdir()
    with child(HOLDS, settings.database_path) as holder:
        part = by_name(stored(settings))["database"]
    assert part.state == "degraded"
    assert f"gex_data.db is held by process {holder.pid} since" in part.lines[0]
    assert part.lines[0].endswith("to sit on it")


def test_a_damaged_database_and_a_broken_storage_of_dagster_are_told_and_hide_nothing_else(
    settings: Settings,
) -> None:
    settings.data_dir.mkdir()
    settings.database_path.write_bytes(b"no database" * 1000)
    parts = by_name(stored(settings))
    assert parts["database"].state == "degraded"
    assert "cannot be opened" in parts["database"].lines[0]
    assert parts["backups"].lines == ["there is none yet"]
    settings.dagster_home_path.mkdir()
    (settings.dagster_home_path / "dagster.yaml").write_text("storage: nonsense\n")
    runs = by_name(dagster(settings))["runs"]
    assert runs.state == "down"
    assert runs.lines[0].startswith("Dagster's storage cannot be read: ")


def test_a_backup_that_is_older_than_two_days_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    import_records(settings, record(0))
    newest = create_backup(settings, reason="test")
    assert by_name(stored(settings))["backups"].state == "ok"
    monkeypatch.setattr("gex_pipeline.status.stored.OLD_BACKUP_HOURS", 0.0)
    part = by_name(stored(settings))["backups"]
    assert (part.state, part.figures["newest"]) == ("degraded", newest.name)
    never = settings.model_copy(update={"backup_max_age_hours": 0.0})
    assert by_name(stored(never))["backups"].state == "ok"


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(settings) as running:
        yield running


def add_run(instance: dg.DagsterInstance, number: int, status: dg.DagsterRunStatus, partition: str) -> None:
    tags = {"dagster/partition": partition}
    instance.add_run(dg.DagsterRun("history_import", f"{number:08d}-0000-4000-8000-0", status=status, tags=tags))


def test_runs_that_failed_are_listed_until_another_made_them_good(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    add_run(instance, 1, dg.DagsterRunStatus.FAILURE, "2025-11-14|SPX:gex_zero")
    add_run(instance, 2, dg.DagsterRunStatus.FAILURE, "2025-11-17|SPX:gex_zero")
    add_run(instance, 3, dg.DagsterRunStatus.STARTED, "2025-11-17|SPX:gex_zero")
    add_run(instance, 4, dg.DagsterRunStatus.SUCCESS, "2025-11-14|SPX:gex_zero")
    parts = by_name(dagster(settings))
    assert parts["runs"].state == "degraded"
    assert parts["runs"].figures == {"under_way": 1, "failed": ["history_import of 2025-11-17|SPX:gex_zero"]}
    assert parts["Dagster daemon"].lines == ["it never ran"]
    add_run(instance, 5, dg.DagsterRunStatus.SUCCESS, "2025-11-17|SPX:gex_zero")
    assert by_name(dagster(settings))["runs"].state == "ok"


def test_a_failed_run_is_told_with_its_reason_until_its_day_is_imported_by_other_means(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    stage_records(settings, record(0))
    add_run(instance, 1, dg.DagsterRunStatus.FAILURE, ZERO.key)
    line = by_name(dagster(settings))["runs"].lines[1]
    assert line == f"history_import of {ZERO.key}: the run's process ended before the run did"
    import_staged(settings, ZERO, "gex import")
    assert by_name(dagster(settings))["runs"].state == "ok"


def test_a_day_that_was_refused_is_told_with_the_reason_until_it_is_imported(settings: Settings) -> None:
    attempt = Attempt(ZERO, "bad.json", "0" * 64, "run", epoch_ms())
    record_attempt(settings, attempt, "refused", "bad_records:\n4 of 390")
    part = by_name(stored(settings))["last imports"]
    assert (part.state, part.figures["not_imported"]) == ("degraded", 1)
    assert [line.rpartition(", ")[0] for line in part.lines] == [
        "2025-11-14 SPX:gex_zero refused: bad_records: 4 of 390"
    ]
    import_records(settings, record(0))
    part = by_name(stored(settings))["last imports"]
    assert (part.state, len(part.lines)) == ("ok", 2)


def test_a_day_that_was_refused_long_ago_degrades_nothing_any_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_attempt(settings, Attempt(ZERO, "bad.json", "0" * 64, "run", epoch_ms()), "refused", "bad")
    monkeypatch.setattr("gex_pipeline.status.stored.RECENT_MS", -1000)
    assert by_name(stored(settings))["last imports"].state == "ok"
