"""The lineage tells the whole story of a file, the attempts that came to nothing included."""

import datetime as dt
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import requests

from gex_pipeline.clock import epoch_ms
from gex_pipeline.definitions import defs
from gex_pipeline.feeds import Feed
from gex_pipeline.history import attempts
from gex_pipeline.history.attempts import Attempt, recorded
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.lineage import ImportCounts, record_import
from gex_pipeline.storage.schema import TABLES, ensure_schema
from gex_pipeline_tests.processes import GatewayProcess, running_gateway
from gex_pipeline_tests.records import ZERO, import_records, record
from gex_pipeline_tests.test_database_held import held

Row = dict[str, Any]
GOOD = [record(second) for second in range(3)]
KEY = "key-of-this-test"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data")


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as running:
        running.add_dynamic_partitions("feed", [ZERO.feed.key])
        yield running


def run(instance: dg.DagsterInstance, settings: Settings, content: str) -> dg.ExecuteInProcessResult:
    """Put a file in the partition's place and run the job."""
    place = ZERO.source(settings).with_suffix(".json")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    return defs.resolve_job_def("history_import").execute_in_process(
        partition_key=ZERO.key, instance=instance, resources={"settings": settings}, raise_on_error=False
    )


def lines(settings: Settings, columns: str) -> list[tuple[Any, ...]]:
    with lease(settings.database_path, purpose="look", timeout_seconds=5) as connection:
        return connection.execute(f"SELECT {columns} FROM data_lineage ORDER BY import_id").fetchall()  # noqa: S608


def test_a_partitions_lines_tell_its_whole_story(instance: dg.DagsterInstance, settings: Settings) -> None:
    before_ms = epoch_ms()
    whole = json.dumps(GOOD)
    runs = [
        run(instance, settings, content)
        for content in (whole[:-30], json.dumps([*GOOD, {"spot": 1}]), json.dumps([]), whole, whole)
    ]
    assert [each.success for each in runs] == [False, False, False, True, True]
    found = "status, split_part(errors, '; most often', 1), records_imported, source_file, ticker, endpoint, date"
    story = lines(settings, f"{found}, run_id")
    name = "20251114_SPX_gex_zero_history.json"
    assert [line[3:] for line in story] == [(name, "SPX", "gex_zero", ZERO.date, each.run_id) for each in runs]
    malformed = "the file ends in the middle of the array; download it again"
    assert [line[:3] for line in story] == [
        ("refused", malformed, 0),
        (
            "refused",
            "staged_snapshots bad_records: 1 of 4 records are bad (25.00%, at most 0.1% may be)",
            0,
        ),
        ("refused", "staged_snapshots not_empty: 0 snapshots", 0),
        ("imported", None, 3),
        ("unchanged", None, 0),
    ]
    times = lines(settings, "started_at, seconds, import_timestamp")
    assert all(before_ms <= started <= ended <= epoch_ms() for started, _, ended in times)
    assert all(seconds == (ended - started) / 1000 for started, seconds, ended in times)
    checksums = [sha256 for (sha256,) in lines(settings, "sha256")]
    assert len(set(checksums)) == 4
    assert all(len(sha256) == 64 for sha256 in checksums)


def test_several_failed_checks_are_one_line_with_all_reasons(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    run(instance, settings, json.dumps([record(86_400), {"spot": 1}]))
    [(status, errors)] = lines(settings, "status, errors")
    assert status == "refused"
    assert [reason.partition(":")[0] for reason in errors.split("; staged")] == [
        "staged_snapshots bad_records",
        "_snapshots timestamps",
    ]


def test_an_import_that_the_database_refuses_is_recorded_as_failed_and_says_why(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    with lease(settings.database_path, purpose="prepare") as connection:
        connection.execute("CREATE TABLE gex_snapshots(timestamp BIGINT, spot_price DOUBLE CHECK (spot_price < 100))")
    result = run(instance, settings, json.dumps(GOOD))
    assert not result.success
    [(status, errors, imported, run_id)] = lines(settings, "status, errors, records_imported, run_id")
    assert (status, imported, run_id) == ("failed", 0, result.run_id)
    assert errors.startswith("ConstraintException: ")
    [failure] = [event.step_failure_data for event in result.all_node_events if event.is_step_failure]
    assert "ConstraintException" in str(failure.error)


def test_an_attempt_without_a_file_is_not_recorded(instance: dg.DagsterInstance, settings: Settings) -> None:
    import_records(settings, *GOOD)
    nothing = Partition(ZERO.feed, dt.date(2025, 11, 17))
    result = defs.resolve_job_def("history_import").execute_in_process(
        partition_key=nothing.key, instance=instance, resources={"settings": settings}, raise_on_error=False
    )
    assert not result.success
    assert Attempt.of_staged(settings, nothing, None).file is None
    assert lines(settings, "status") == [("imported",)]


def test_no_query_string_gets_into_a_line(settings: Settings) -> None:
    link = "https://hist.gex.bot/2025-11-14_SPX.json?sv=2024&sig=SIGNATURE"
    attempt = Attempt(ZERO, "a.json", "abc", "run", epoch_ms())
    with pytest.raises(ValueError, match="SIGNATURE"), recorded(settings, attempt):
        raise ValueError(f"could not read {link} (twice {link})")
    [(errors,)] = lines(settings, "errors")
    assert errors.startswith("ValueError: could not read https://hist.gex.bot/2025-11-14_SPX.json")
    assert "sig" not in errors.lower()


def test_a_busy_database_hides_no_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(attempts, "LEASE_TIMEOUT_SECONDS", 0.1)
    attempt = Attempt(ZERO, "a.json", "abc", "run", epoch_ms())
    import_records(settings, *GOOD)
    with (
        lease(settings.database_path, purpose="hold it"),
        caplog.at_level(logging.WARNING),
        pytest.raises(ValueError, match="the error itself"),
        recorded(settings, attempt),
    ):
        raise ValueError("the error itself")
    assert "is not in the lineage: waited 0.1 s" in caplog.text
    assert lines(settings, "status") == [("imported",)]


# GET /lineage


DAY, NEXT_DAY = dt.date(2025, 11, 14), dt.date(2025, 11, 17)
WRITTEN = [
    (Feed("SPX", "gex_zero"), DAY, "refused", "bad_records: 2 of 200"),
    (Feed("SPX", "gex_zero"), DAY, "imported", None),
    (Feed("SPX", "gex_one"), DAY, "imported", None),
    (Feed("NQ_NDX", "gex_zero"), NEXT_DAY, "failed", "ConstraintException: no"),
    (Feed("SPX", "gex_zero"), DAY, "replaced", None),
]


def write_lines(data_dir: Path) -> None:
    with lease(data_dir / "gex_data.db", purpose="prepare") as connection:
        ensure_schema(connection)
        for number, (feed, date, status, errors) in enumerate(WRITTEN, 1):
            record_import(
                connection,
                import_id=number,
                source_file=f"{number}.json",
                sha256="ab" * 32,
                feed=feed,
                date=date,
                counts=ImportCounts(5, 50, 3, 2, 1),
                status=status,
                run_id=f"run-{number}",
                started_at_ms=epoch_ms() - 2000,
                errors=errors,
            )


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    data_dir = tmp_path_factory.mktemp("lineage") / "data"
    write_lines(data_dir)
    with running_gateway(data_dir, GEX_API_KEY=KEY) as running:
        yield running


def ask(gateway: GatewayProcess, query: str = "", key: str = KEY) -> requests.Response:
    return requests.get(f"{gateway.url}/lineage{query}", headers={"X-API-Key": key}, timeout=30)


def test_the_lines_are_shown_with_all_their_columns_the_newest_first(gateway: GatewayProcess) -> None:
    shown = ask(gateway).json()
    assert [line["import_id"] for line in shown] == [5, 4, 3, 2, 1]
    assert list(shown[0]) == list(TABLES["data_lineage"])
    line = shown[1]
    assert line["seconds"] == (line["import_timestamp"] - line["started_at"]) / 1000 >= 2
    assert line | {"seconds": 0, "import_timestamp": 0, "started_at": 0} == {
        "import_id": 4, "source_file": "4.json", "sha256": "ab" * 32, "record_type": "history", "ticker": "NQ_NDX",
        "endpoint": "gex_zero", "date": "2025-11-17", "records_imported": 5, "strikes_imported": 50,
        "records_present": 3, "records_differing": 2, "records_replaced": 1, "started_at": 0, "seconds": 0,
        "import_timestamp": 0, "status": "failed", "errors": "ConstraintException: no", "run_id": "run-4",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?ticker=SPX", [5, 3, 2, 1]),
        ("?ticker=spx&endpoint=one", [3]),
        ("?endpoint=gex_zero", [5, 4, 2, 1]),
        ("?date=2025-11-17", [4]),
        ("?status=refused", [1]),
        ("?ticker=SPX&endpoint=gex_zero&date=2025-11-14&status=replaced", [5]),
        ("?limit=2", [5, 4]),
        ("?record_type=history&limit=1", [5]),
        ("?record_type=live", []),
        ("?ticker=NDX", []),
    ],
)
def test_the_lines_can_be_narrowed(gateway: GatewayProcess, query: str, found: list[int]) -> None:
    assert [line["import_id"] for line in ask(gateway, query).json()] == found


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        ("?ticker=a/b", "ticker", "a/b"),
        ("?ticker=", "ticker", ""),
        ("?endpoint=a%20b", "endpoint", "a b"),
        ("?date=yesterday", "date", "yesterday"),
        ("?date=2025-02-30", "date", "2025-02-30"),
        ("?status=done", "status", "done"),
        ("?record_type=old", "record_type", "old"),
        ("?limit=0", "limit", "0"),
        ("?limit=1001", "limit", "1001"),
        ("?limit=many", "limit", "many"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_field_by_field(
    gateway: GatewayProcess, query: str, field: str, value: str
) -> None:
    answer = ask(gateway, query)
    assert answer.status_code == 400
    [problem] = answer.json()["detail"]
    assert (problem["field"], problem["value"]) == (field, value)
    assert problem["expected"]


def test_without_the_key_no_line_is_shown(gateway: GatewayProcess) -> None:
    assert ask(gateway, key="wrong").status_code == 401


def test_the_openapi_document_describes_each_column_and_each_parameter(gateway: GatewayProcess) -> None:
    document = requests.get(f"{gateway.url}/openapi.json", headers={"X-API-Key": KEY}, timeout=30).json()
    described = document["paths"]["/lineage"]["get"]
    names = [each["name"] for each in described["parameters"]]
    assert names == ["ticker", "endpoint", "date", "status", "record_type", "limit"]
    item = described["responses"]["200"]["content"]["application/json"]["schema"]["items"]
    assert list(item["properties"]) == list(TABLES["data_lineage"])


def test_a_journal_segment_is_a_line_of_its_own(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data") as gateway:
        assert ask(gateway).json() == []
        snapshot = {"timestamp": 1763130600, "ticker": "SPX", "spot": 6838.5}
        assert requests.post(f"{gateway.url}/gex", json=snapshot, timeout=30).status_code == 202
        gateway.wait_until_loaded()
        [line] = ask(gateway, "?record_type=live").json()
        assert ask(gateway, "?record_type=history").json() == []
    assert (line["record_type"], line["records_imported"], line["ticker"], line["date"]) == ("live", 1, None, None)


def test_the_lines_of_an_older_version_are_shown(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with lease(data_dir / "gex_data.db", purpose="prepare") as connection:
        connection.execute(
            "CREATE TABLE data_lineage(import_id BIGINT, source_file VARCHAR, sha256 VARCHAR, record_type VARCHAR, "
            "records_imported BIGINT, import_timestamp BIGINT, status VARCHAR, note VARCHAR)"
        )
        connection.execute("INSERT INTO data_lineage VALUES (1, 'a.json', NULL, 'history', 5, 7, 'imported', 'mine')")
    with running_gateway(data_dir) as gateway:
        [line] = ask(gateway).json()
    assert line == dict.fromkeys(TABLES["data_lineage"]) | {
        "import_id": 1, "source_file": "a.json", "record_type": "history", "records_imported": 5,
        "import_timestamp": 7, "status": "imported",
    }  # fmt: skip


def test_a_database_that_stays_busy_is_said_to_be(gateway: GatewayProcess) -> None:
    with held(gateway.data_dir / "gex_data.db"):
        answer = ask(gateway)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert "gex_data.db is open elsewhere" in answer.json()["detail"][0]["expected"]
