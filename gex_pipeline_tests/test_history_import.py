"""The job `history_import` through Dagster: from an announced URL to equal rows in the database and in Parquet."""

import datetime as dt
import gzip
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import dagster as dg
import duckdb
import msgspec
import pyarrow.parquet as pq
import pytest

from gex_pipeline.backups.folder import list_backups
from gex_pipeline.clock import epoch_ms
from gex_pipeline.definitions import defs
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.demo.sessions import Damage, Session, write_history_file
from gex_pipeline.feeds import Feed, request_id
from gex_pipeline.formats.columns import SNAPSHOTS_SCHEMA
from gex_pipeline.history import assets, checks, download, sensors
from gex_pipeline.history.download import SourceFile
from gex_pipeline.history.obtaining import obtain
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.history.staging import stage
from gex_pipeline.journal import encode_record, name_journal, segment_path
from gex_pipeline.loader.loading import Loader
from gex_pipeline.settings import load_settings
from gex_pipeline.storage.files import sha256_of
from gex_pipeline.storage.lease import lease, transaction
from gex_pipeline.storage.request_queue import announce, find_request
from gex_pipeline.storage.schema import ensure_schema
from gex_pipeline_tests.processes import free_port

DAY = dt.date(2025, 11, 14)
OPENING = 1_763_130_601
SNAPSHOTS, STRIKES = 200, 8
ZERO = Partition(Feed("NQ_NDX", "gex_zero"), DAY)
ONE = Partition(Feed("NQ_NDX", "gex_one"), DAY)
NEXT_DAY = Partition(Feed("NQ_NDX", "gex_zero"), dt.date(2025, 11, 17))
ASSETS = [assets.history_file, assets.stage_history, assets.import_history, assets.export_history]
CHECKS = [checks.staged_checks, checks.stored_checks, checks.published_checks]
TABLES: tuple[Table, Table] = ("snapshots", "strikes")
OTHER_SHAPES: list[Any] = [
    [100, 1.5],
    [101, 1.5, -2],
    [102, 1.5, -2, None],
    [103, 1.5, -2, []],
    [104.25, 0, -0.5, [1, 2.5, None]],
    {"strike": 105, "gamma_now": 7, "oi_gamma": 8.5, "vanna": 0.25, "history": [1, 2, 3, 4, 5]},
    {"strike": 106.5, "gamma": -7},
]
EXTRA: dict[str, Any] = {
    "net_gex": -1.25,
    "net_gex_vol": 3,
    "net_gex_oi": 4.5,
    "max_change": {"one": [7140, 2.5]},
    "new_field": {"nested": [1, None, "é"]},
}

Row = dict[str, Any]
Bytes = dict[str, bytes]


class World:
    """A data folder, a Dagster instance and a GexBot of its own."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, gexbot: GexBotStandIn) -> None:
        self.settings = load_settings(data_dir=folder / "data", history_hosts=gexbot.host)
        self.instance = instance
        self.gexbot = gexbot

    def write(self, partition: Partition, *, damage: Damage | None = None, **session: Any) -> Path:
        """Put a session's history file on GexBot's host; 200 snapshots of 8 strikes by default."""
        path = (
            self.gexbot.directory / f"{partition.date}_{partition.feed.ticker}_classic_{partition.feed.endpoint}.json"
        )
        sizes: dict[str, Any] = {"snapshots": SNAPSHOTS, "strikes": STRIKES} | session
        write_history_file(path, Session(feed=partition.feed, date=partition.date, **sizes), damage=damage)
        return path

    def announce(self, partition: Partition, path: Path, **behaviour: Any) -> str:
        """Queue a signed URL of a file for a partition, as the loader does, and return it."""
        url = self.gexbot.signed_url(path.name, **behaviour)
        self.queue(partition, url)
        return url

    def queue(self, partition: Partition, url: str) -> None:
        with lease(self.settings.database_path, purpose="announce") as connection:
            ensure_schema(connection)
            with transaction(connection):
                announce(
                    connection, partition.feed, partition.date, url=url, metadata=None, announced_at_ms=epoch_ms()
                )

    def run(
        self, partition: Partition = ZERO, *selected: str, config: Row | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run the job, or only some of its assets, for one partition."""
        self.instance.add_dynamic_partitions("feed", [partition.feed.key])
        how: dict[str, Any] = {
            "partition_key": partition.key,
            "instance": self.instance,
            "resources": {"settings": self.settings},
            "raise_on_error": False,
            "run_config": config,
        }
        if selected:
            return dg.materialize([*ASSETS, *CHECKS], selection=list(selected), **how)
        return defs.resolve_job_def("history_import").execute_in_process(**how)

    def import_file(self, partition: Partition, path: Path) -> dg.ExecuteInProcessResult:
        self.announce(partition, path)
        return self.run(partition)

    def query(self, sql: str) -> list[Any]:
        with lease(self.settings.database_path, purpose="look", timeout_seconds=10) as connection:
            return connection.execute(sql).fetchall()

    def stored(self, table: Table, partition: Partition | None = None) -> list[Row]:
        """Return all rows of a table, or a feed's rows of one UTC day, in order."""
        ordered = "timestamp, endpoint" + (", strike" if table == "strikes" else "")
        with lease(self.settings.database_path, purpose="look", timeout_seconds=10) as connection:
            found = connection.execute(f"SELECT * FROM gex_{table} ORDER BY {ordered}")  # noqa: S608
            names = [column[0] for column in found.description or []]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        return [row for row in rows if partition is None or _is_of(row, partition)]

    def published(self, table: Table, partition: Partition = ZERO) -> list[Row]:
        rows: list[Row] = pq.read_table(partition.published(self.settings, table)).to_pylist()
        return rows

    def parquet_bytes(self) -> Bytes:
        root = self.settings.parquet_path
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def quarantined(self) -> list[Row]:
        files = sorted(self.settings.quarantine_dir.rglob("*"))
        return [json.loads(line) for path in files if path.is_file() for line in path.read_text().splitlines()]

    def record_live(self, *captures: object) -> None:
        """Capture snapshots as the gateway does and load them."""
        self.settings.journal_dir.mkdir(parents=True, exist_ok=True)
        name_journal(self.settings.journal_dir)
        with segment_path(self.settings.journal_dir, 1).open("ab") as segment:
            for capture in captures:
                segment.write(encode_record("gex", epoch_ms(), msgspec.json.encode(capture)))
        loader = Loader(self.settings)
        while loader.load_next():
            pass


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as running:
        yield running


@pytest.fixture
def gexbot(tmp_path: Path) -> Iterator[GexBotStandIn]:
    (tmp_path / "gexbot").mkdir()
    with GexBotStandIn(tmp_path / "gexbot") as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, instance: dg.DagsterInstance, gexbot: GexBotStandIn) -> World:
    return World(tmp_path, instance, gexbot)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the download step try again without its pauses of seconds."""
    policy = dg.RetryPolicy(max_retries=assets.DOWNLOAD_RETRIES.max_retries, delay=0.01)
    monkeypatch.setattr(assets.history_file.op, "_retry_policy", policy)


def _is_of(row: Row, partition: Partition) -> bool:
    day = dt.datetime.fromtimestamp(row["timestamp"] / 1000, dt.UTC).date()
    return (row["ticker"], row["endpoint"], day) == (partition.feed.ticker, partition.feed.endpoint, partition.date)


def changing(changes: dict[int, Callable[[Row], object]]) -> Damage:
    """Replace the records at these positions by what the function makes of them; bytes are written as they are."""

    def damage(index: int, record: bytes) -> bytes:
        if index not in changes:
            return record
        changed = changes[index](json.loads(record))
        return changed if isinstance(changed, bytes) else json.dumps(changed).encode()

    return damage


def spoiling(*positions: int) -> Damage:
    return changing(dict.fromkeys(positions, lambda record: record | {"spot": "high"}))


def expected_snapshot(record: Row, partition: Partition) -> Row:
    """Return the row of one record of a file, read with nothing but json."""
    known = {"timestamp", "ticker", "spot", "strikes", "max_priors", "max_change"}
    numbers = [name for name in SNAPSHOTS_SCHEMA.names if name not in {*known, "endpoint", "spot_price", "extra"}]
    extra = {name: value for name, value in record.items() if name not in {*known, *numbers}}
    return {
        "timestamp": record["timestamp"] * 1000,
        "ticker": partition.feed.ticker,
        "endpoint": partition.feed.endpoint,
        "spot_price": record["spot"],
        **{name: record.get(name) for name in numbers},
        "max_priors": record.get("max_priors"),
        "max_change": record.get("max_change"),
        "extra": extra or None,
    }


def expected_strikes(record: Row, partition: Partition) -> list[Row]:
    rows = []
    for strike in record["strikes"]:
        if isinstance(strike, list):
            level, gamma, oi_gamma, priors = strike + [None] * (4 - len(strike))
            vanna = None
        else:
            level, gamma = strike["strike"], strike.get("gamma_now", strike.get("gamma"))
            oi_gamma, vanna, priors = (strike.get(name) for name in ("oi_gamma", "vanna", "history"))
        rows.append(
            {
                "timestamp": record["timestamp"] * 1000,
                "ticker": partition.feed.ticker,
                "endpoint": partition.feed.endpoint,
                "strike": level,
                "gamma": gamma,
                "oi_gamma": oi_gamma,
                "vanna": vanna,
                "priors": priors,
            }
        )
    return rows


def plain(row: Row, *left_out: str) -> Row:
    """Return a stored row with its JSON texts read and some columns left out."""
    texts = ("max_priors", "max_change", "extra")
    values = {name: value for name, value in row.items() if name not in left_out}
    return values | {name: json.loads(values[name]) for name in texts if values.get(name) is not None}


def assert_equal_to_file(world: World, partition: Partition, path: Path) -> None:
    """Compare database and Parquet with the file, every value of every record, type of file aside."""
    content = path.read_bytes()
    records = json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    snapshots = [expected_snapshot(record, partition) for record in records]
    strikes = [row for record in records for row in expected_strikes(record, partition)]
    origin = ("source", "import_id")
    assert [plain(row, *origin) for row in world.stored("snapshots", partition)] == snapshots
    assert [plain(row, *origin) for row in world.stored("strikes", partition)] == strikes
    assert [plain(row, "source") for row in world.published("snapshots", partition)] == snapshots
    without_vanna = [{name: value for name, value in row.items() if name != "vanna"} for row in strikes]
    assert world.published("strikes", partition) == without_vanna


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Row]:
    """Return what each materialized asset says of itself."""
    return {
        event.asset_key.to_user_string(): {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {
        f"{each.asset_key.to_user_string()}.{each.check_name}": each for each in result.get_asset_check_evaluations()
    }


def failed_checks(result: dg.ExecuteInProcessResult) -> list[str]:
    return sorted(name for name, check in evaluations(result).items() if not check.passed)


def failure(result: dg.ExecuteInProcessResult) -> str:
    """Return why the run failed, as the user reads it."""
    assert not result.success
    texts = []
    for event in result.all_node_events:
        if event.is_step_failure:
            data = event.step_failure_data
            texts.append(data.user_failure_data.description if data.user_failure_data else str(data.error))
    return "\n".join(text or "" for text in texts)


def retries(result: dg.ExecuteInProcessResult) -> int:
    return sum(event.is_step_up_for_retry for event in result.all_node_events)


# One file


class Imported(NamedTuple):
    """A file with records of every shape, imported by one run; not to be changed."""

    world: World
    path: Path
    result: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, instance: dg.DagsterInstance) -> Iterator[Imported]:
    folder = tmp_path_factory.mktemp("imported")
    (folder / "gexbot").mkdir()
    with GexBotStandIn(folder / "gexbot") as gexbot:
        world = World(folder, instance, gexbot)
        path = world.write(
            ZERO,
            damage=changing(
                {
                    3: lambda record: record | {"strikes": OTHER_SHAPES},
                    4: lambda record: record | EXTRA,
                    5: lambda record: record | {"max_priors": [1, 2, 3.5], "zero_gamma": None},
                    6: lambda record: {name: value for name, value in record.items() if name != "min_dte"},
                    7: lambda record: record | {"strikes": []},
                    8: lambda record: record | {"strikes": [[25197.21, 1e300, -1e-300, [0.1, 0.2]]]},
                }
            ),
        )
        yield Imported(world, path, world.import_file(ZERO, path))


def test_every_value_of_the_file_is_in_the_database_and_in_parquet(imported: Imported) -> None:
    world, path, result = imported
    assert result.success
    assert_equal_to_file(world, ZERO, path)
    assert len(world.stored("snapshots")) == SNAPSHOTS
    assert {(row["source"], row["import_id"]) for table in TABLES for row in world.stored(table)} == {("history", 1)}
    assert {row["source"] for row in world.published("snapshots")} == {"history"}


def test_a_gzip_file_is_imported_as_a_plain_one(world: World) -> None:
    path = world.write(ZERO)
    path.write_bytes(gzip.compress(path.read_bytes(), 1))
    assert world.import_file(ZERO, path).success
    assert_equal_to_file(world, ZERO, path)


def test_all_checks_pass_for_a_good_file_and_are_of_its_partition(imported: Imported) -> None:
    result = imported.result
    assert {check.partition for check in evaluations(result).values()} == {ZERO.key}
    assert failed_checks(result) == []
    assert sorted(evaluations(result)) == [
        "gex_snapshots.matches_file",
        "gex_strikes.have_snapshots",
        "gex_strikes.matches_file",
        "snapshots_parquet.matches_database",
        "staged_snapshots.bad_records",
        "staged_snapshots.not_empty",
        "staged_snapshots.schema",
        "staged_snapshots.timestamps",
        "staged_strikes.have_snapshots",
        "staged_strikes.schema",
        "strikes_parquet.matches_database",
    ]


def test_each_asset_says_how_much_when_how_long_and_of_which_file(imported: Imported) -> None:
    world, path, result = imported
    said = metadata(result)
    strikes = sum(len(record["strikes"]) for record in json.loads(path.read_bytes()))
    file = ZERO.source(world.settings).with_name("20251114_NQ_NDX_gex_zero_history.json")
    sha256 = file.with_name(f"{file.name}.sha256").read_text().split()[0]
    first, last = "2025-11-14T09:30:01-05:00", "2025-11-14T09:33:20-05:00"
    assert said["history_file"] | {"seconds": 0} == {
        "origin": "announced URL",
        "path": str(file),
        "size_bytes": path.stat().st_size,
        "sha256": sha256,
        "seconds": 0,
    }
    assert said["staged_snapshots"] | {"seconds": 0} == {
        "dagster/partition_row_count": SNAPSHOTS,
        "records_in_file": SNAPSHOTS,
        "bad_records": 0,
        "duplicates": 0,
        "duplicates_differing": 0,
        "sha256": sha256,
        "seconds": 0,
        "first": first,
        "last": last,
    }
    assert said["staged_strikes"]["dagster/partition_row_count"] == strikes
    assert said["gex_snapshots"] | {"lease_seconds": 0} == {
        "rows_inserted": SNAPSHOTS,
        "rows_present": 0,
        "rows_differing": 0,
        "outcome": f"imported 200 snapshots and {strikes:,} strikes",
        "import_id": 1,
        "sha256": sha256,
        "first": first,
        "last": last,
        "lease_seconds": 0,
    }
    assert said["gex_strikes"]["rows_inserted"] == strikes
    for table, rows in (("snapshots", SNAPSHOTS), ("strikes", strikes)):
        published = ZERO.published(world.settings, table)  # type: ignore[arg-type]
        parquet = said[f"{table}_parquet"]
        assert (parquet["dagster/partition_row_count"], parquet["outcome"]) == (rows, "written")
        assert (parquet["path"], parquet["size_bytes"]) == (str(published), published.stat().st_size)
    assert all(each.get("seconds", 1) > 0 and each.get("lease_seconds", 1) > 0 for each in said.values())
    assert len(said) == 7


def test_the_lineage_names_the_file_its_checksum_its_counts_and_the_run(imported: Imported) -> None:
    world, path, result = imported
    strikes = sum(len(record["strikes"]) for record in json.loads(path.read_bytes()))
    sha256 = metadata(result)["history_file"]["sha256"]
    [line] = world.query(
        "SELECT import_id, source_file, sha256, record_type, ticker, endpoint, date, records_imported, "
        "strikes_imported, records_present, records_differing, status, errors, run_id FROM data_lineage"
    )
    assert line == (
        1, "20251114_NQ_NDX_gex_zero_history.json", sha256, "history", "NQ_NDX", "gex_zero", DAY, SNAPSHOTS,
        strikes, 0, 0, "imported", None, result.run_id,
    )  # fmt: skip


def test_the_same_file_again_changes_nothing_and_says_so(world: World) -> None:
    path = world.write(ZERO)
    world.import_file(ZERO, path)
    before = [world.stored(table) for table in TABLES], world.parquet_bytes()
    result = world.import_file(ZERO, path)
    assert result.success
    assert ([world.stored(table) for table in TABLES], world.parquet_bytes()) == before
    said = metadata(result)
    assert said["gex_snapshots"]["outcome"] == "unchanged: these bytes are import 1 already"
    assert (said["gex_snapshots"]["rows_inserted"], said["gex_snapshots"]["rows_present"]) == (0, SNAPSHOTS)
    assert [said[f"{table}_parquet"]["outcome"] for table in TABLES] == ["unchanged", "unchanged"]
    assert not (world.settings.backups_dir / "parquet").exists()
    assert world.query("SELECT import_id, status, records_imported FROM data_lineage ORDER BY import_id") == [
        (1, "imported", SNAPSHOTS),
        (2, "unchanged", 0),
    ]
    assert failed_checks(result) == []


def test_another_endpoint_and_another_day_leave_every_other_row_as_it_was(world: World) -> None:
    for number, partition in enumerate((ZERO, ONE, NEXT_DAY)):
        before = {table: world.stored(table) for table in TABLES} if number else {}
        files = world.parquet_bytes()
        path = world.write(partition, seed=number)
        assert world.import_file(partition, path).success
        assert_equal_to_file(world, partition, path)
        for table, rows in before.items():
            assert [row for row in world.stored(table) if not _is_of(row, partition)] == rows
        assert files.items() <= world.parquet_bytes().items()
    assert len(world.parquet_bytes()) == 6
    assert world.query("SELECT count(*) FROM gex_snapshots") == [(3 * SNAPSHOTS,)]


# Bad files


def test_one_bad_record_in_a_thousand_is_put_aside_and_the_rest_imported(world: World) -> None:
    path = world.write(ZERO, snapshots=1000, strikes=2, damage=spoiling(500))
    result = world.import_file(ZERO, path)
    assert result.success
    assert [row["timestamp"] for row in world.stored("snapshots")] == [
        (OPENING + second) * 1000 for second in range(1000) if second != 500
    ]
    [bad] = world.quarantined()
    assert (bad["position"], bad["reason"]) == (500, "spot: got high, expected a finite number")
    assert json.loads(bad["record"]) == json.loads(path.read_bytes())[500]
    assert metadata(result)["staged_snapshots"]["bad_records"] == 1


def test_one_percent_of_bad_records_fails_the_partition_and_only_it_until_a_corrected_file_comes(
    world: World,
) -> None:
    world.import_file(ONE, world.write(ONE))
    before = [world.stored(table) for table in TABLES], world.parquet_bytes()
    path = world.write(ZERO, damage=spoiling(17, 170))
    result = world.import_file(ZERO, path)
    assert not result.success
    assert ([world.stored(table) for table in TABLES], world.parquet_bytes()) == before
    assert world.query("SELECT status FROM data_lineage ORDER BY import_id") == [("imported",), ("refused",)]
    assert "gex_snapshots" not in metadata(result)

    assert failed_checks(result) == ["staged_snapshots.bad_records"]
    check = evaluations(result)["staged_snapshots.bad_records"]
    assert check.partition == ZERO.key
    assert check.blocking
    assert check.description == "2 of 200 records are bad (1.00%, at most 0.1% may be)"
    said = {name: value.value for name, value in check.metadata.items()}
    reason = "spot: got high, expected a finite number"
    assert said["examples"] == [f"record 17: {reason}", f"record 170: {reason}"]
    assert Path(str(said["quarantine"])).is_file()
    records = json.loads(path.read_bytes())
    assert [(bad["position"], bad["reason"], json.loads(bad["record"])) for bad in world.quarantined()] == [
        (position, reason, records[position]) for position in (17, 170)
    ]

    corrected = world.write(ZERO)
    assert world.import_file(ZERO, corrected).success
    assert_equal_to_file(world, ZERO, corrected)
    assert len(world.quarantined()) == 2


def test_what_failed_its_checks_is_not_imported_by_running_the_import_alone(world: World) -> None:
    world.import_file(ZERO, world.write(ZERO, damage=spoiling(17, 170)))
    result = world.run(ZERO, "gex_snapshots", "gex_strikes")
    assert "2 of 200 records are bad" in failure(result)
    assert retries(result) == 0
    assert world.stored("snapshots") == []


def test_a_failed_check_is_on_record_for_its_partition(world: World) -> None:
    world.import_file(ZERO, world.write(ZERO, damage=spoiling(1)))
    world.import_file(NEXT_DAY, world.write(NEXT_DAY))
    key = dg.AssetCheckKey(dg.AssetKey("staged_snapshots"), "bad_records")
    history = world.instance.event_log_storage.get_asset_check_execution_history(key, limit=2)
    recorded = [each.event.dagster_event.event_specific_data for each in history if each.event]  # type: ignore[union-attr]
    verdicts = [each for each in recorded if isinstance(each, dg.AssetCheckEvaluation)]
    assert {each.partition: each.passed for each in verdicts} == {ZERO.key: False, NEXT_DAY.key: True}


BAD_FILES: dict[str, tuple[list[str], Callable[[list[Row]], Any]]] = {
    "out of order": (["staged_snapshots.timestamps"], lambda records: [*records[1:], records[0]]),
    "of another day": (
        ["staged_snapshots.timestamps"],
        lambda records: [record | {"timestamp": record["timestamp"] + 86_400} for record in records],
    ),
    "with one snapshot of another day": (
        ["staged_snapshots.timestamps"],
        lambda records: [*records, records[-1] | {"timestamp": records[-1]["timestamp"] + 86_400}],
    ),
    "empty": (["staged_snapshots.not_empty"], lambda _: []),
    "of another ticker": (
        ["staged_snapshots.bad_records", "staged_snapshots.not_empty"],
        lambda records: [record | {"ticker": "SPX"} for record in records],
    ),
    "of another endpoint": (
        ["staged_snapshots.bad_records", "staged_snapshots.not_empty"],
        lambda records: [record | {"endpoint": "one"} for record in records],
    ),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_is_wrong_as_a_whole_fails_its_checks_and_nothing_of_it_is_imported(
    world: World, kind: str
) -> None:
    expected, change = BAD_FILES[kind]
    path = world.write(ZERO, snapshots=20, strikes=2)
    path.write_text(json.dumps(change(json.loads(path.read_bytes()))))
    result = world.import_file(ZERO, path)
    assert not result.success
    assert failed_checks(result) == expected
    assert {table: world.stored(table) for table in TABLES} == {"snapshots": [], "strikes": []}
    assert world.parquet_bytes() == {}
    if kind == "of another ticker":
        assert world.quarantined()[0]["reason"] == "ticker: got SPX, expected NQ_NDX"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content[:-200], "ends in the middle of the array; download it again"),
        (lambda content: gzip.compress(content)[:-200], "is not a whole gzip file"),
        (lambda _: b"", "is empty; download it again"),
        (lambda _: b"<html>Forbidden</html>", "a JSON array, JSON lines or an object was expected"),
    ],
    ids=["truncated", "truncated gzip", "no bytes", "a page"],
)
def test_a_file_that_is_no_whole_document_fails_at_once_and_leaves_nothing(
    world: World, change: Callable[[bytes], bytes], said: str
) -> None:
    path = world.write(ZERO, snapshots=20, strikes=2)
    whole = path.read_bytes()
    path.write_bytes(change(whole))
    result = world.import_file(ZERO, path)
    assert said in failure(result)
    assert retries(result) == 0
    assert not any(ZERO.staged(world.settings, table).exists() for table in TABLES)
    assert world.stored("snapshots") == []
    path.write_bytes(whole)
    assert world.import_file(ZERO, path).success
    assert_equal_to_file(world, ZERO, path)


def test_repeated_records_are_counted_and_the_first_stays(world: World) -> None:
    first_again = changing({9: lambda record: record | {"timestamp": OPENING + 8}})
    path = world.write(ZERO, snapshots=20, strikes=2, duplicates=(3, 5), damage=first_again)
    result = world.import_file(ZERO, path)
    assert result.success
    staged = metadata(result)["staged_snapshots"]
    assert (staged["records_in_file"], staged["dagster/partition_row_count"]) == (22, 19)
    assert (staged["duplicates"], staged["duplicates_differing"]) == (3, 1)
    records = {record["timestamp"]: record for record in reversed(json.loads(path.read_bytes()))}
    path.write_text(json.dumps([records[key] for key in sorted(records)]))
    assert_equal_to_file(world, ZERO, path)


# Live rows and history together


def test_live_rows_stay_as_they_were_and_are_counted_as_differing(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=3)
    records = json.loads(path.read_bytes())
    other_spot = records[2] | {"spot": 1.5}
    other_strike = records[3] | {"strikes": [*records[3]["strikes"][:2], [1, 2, 3, [4, 5, 6, 7, 8]]]}
    before_open = records[0] | {"timestamp": OPENING - 1}
    world.record_live(before_open, other_spot, other_strike, records[4])
    live = {table: world.stored(table) for table in TABLES}
    result = world.import_file(ZERO, path)
    assert result.success
    for table in TABLES:
        assert [row for row in world.stored(table) if row["source"] == "live"] == live[table]
    said = metadata(result)["gex_snapshots"]
    assert (said["rows_inserted"], said["rows_present"], said["rows_differing"]) == (17, 3, 2)
    assert said["fields_differing"] == pq.read_metadata(said["conflicts"]).num_rows == 3
    level = records[3]["strikes"][2][0]
    assert said["examples"] == [
        f"2025-11-14T09:30:03-05:00 spot_price: stored 1.5 (live), offered {records[2]['spot']}",
        "2025-11-14T09:30:04-05:00 strike 1.0: only stored (live)",
        f"2025-11-14T09:30:04-05:00 strike {level}: only offered",
    ]
    assert world.query(
        "SELECT records_imported, strikes_imported, records_present, records_differing FROM data_lineage "
        "WHERE record_type = 'history'"
    ) == [(17, 51, 3, 2)]

    merged = [before_open, *records[:2], other_spot, other_strike, *records[4:]]
    path.write_text(json.dumps(merged))
    by_strike = sorted(
        (row for record in merged for row in expected_strikes(record, ZERO)),
        key=lambda row: (row["timestamp"], row["strike"]),
    )
    assert [plain(row, "source", "import_id") for row in world.stored("strikes")] == by_strike
    assert [plain(row, "source") for row in world.published("snapshots")] == [
        expected_snapshot(record, ZERO) for record in merged
    ]
    assert [row["source"] for row in world.published("snapshots")] == [
        "live", "history", "history", "live", "live", "live", *["history"] * 15,
    ]  # fmt: skip
    assert [(row["timestamp"], row["strike"]) for row in world.published("strikes")] == [
        (row["timestamp"], row["strike"]) for row in by_strike
    ]
    assert failed_checks(result) == []


REPLACE: Row = {"ops": {"import_history": {"config": {"replace": True}}}}


def test_rows_are_replaced_by_a_run_that_is_told_to_and_all_its_checks_pass(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=3)
    records = json.loads(path.read_bytes())
    before_open = records[0] | {"timestamp": OPENING - 1}
    world.record_live(before_open, records[2] | {"spot": 1.5}, records[3] | {"strikes": [[1, 2]]}, records[4])
    world.import_file(ZERO, path)
    result = world.run(ZERO, config=REPLACE)
    assert result.success
    assert failed_checks(result) == []
    said = metadata(result)["gex_snapshots"]
    assert said["outcome"] == "imported 2 snapshots and 6 strikes, 2 snapshots instead of stored ones"
    assert (said["rows_inserted"], said["rows_present"], said["rows_differing"], said["rows_replaced"]) == (
        2,
        20,
        2,
        2,
    )
    assert [row["spot_price"] for row in pq.read_table(said["replaced_snapshots"]).to_pylist()].count(1.5) == 1
    assert pq.read_metadata(said["replaced_strikes"]).num_rows == 4
    assert [row["source"] for row in world.stored("snapshots")] == [
        "live",
        *["history"] * 4,
        "live",
        *["history"] * 15,
    ]
    assert world.query("SELECT status, records_replaced, run_id FROM data_lineage WHERE import_id = 3") == [
        ("replaced", 2, result.run_id)
    ]
    path.write_text(json.dumps([before_open, *records]))
    assert_equal_to_file(world, ZERO, path)


def test_a_different_parquet_file_that_is_replaced_is_kept_in_the_backups(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=3)
    world.import_file(ZERO, path)
    old = world.parquet_bytes()
    world.record_live(json.loads(path.read_bytes())[0] | {"timestamp": OPENING + 3600})
    result = world.run(ZERO, "snapshots_parquet", "strikes_parquet")
    assert result.success
    backups = world.settings.backups_dir / "parquet"
    kept = {
        str(each.relative_to(backups).with_suffix("")): each.read_bytes()
        for each in backups.rglob("*")
        if each.is_file()
    }
    assert kept == old
    assert all(metadata(result)[f"{table}_parquet"]["outcome"].startswith("replaced") for table in TABLES)
    assert len(world.published("snapshots")) == 21
    assert world.run(ZERO, "snapshots_parquet", "strikes_parquet").success
    assert len([each for each in backups.rglob("*") if each.is_file()]) == 2


def test_a_parquet_file_is_not_replaced_by_one_with_fewer_rows(world: World) -> None:
    world.import_file(ZERO, world.write(ZERO, snapshots=20, strikes=3))
    old = world.parquet_bytes()
    world.query(f"DELETE FROM gex_snapshots WHERE timestamp = {OPENING * 1000}")  # noqa: S608
    result = world.run(ZERO, "snapshots_parquet", "strikes_parquet")
    assert "has 20 rows and the database only 19: it is not replaced" in failure(result)
    assert retries(result) == 0
    assert world.parquet_bytes() == old


# Steps alone


def test_each_step_can_be_run_again_alone(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=3)
    world.import_file(ZERO, path)
    before = [world.stored(table) for table in TABLES], world.parquet_bytes()
    path.unlink()
    for selected in (
        ["history_file"],
        ["staged_snapshots", "staged_strikes"],
        ["gex_snapshots", "gex_strikes"],
        ["snapshots_parquet", "strikes_parquet"],
    ):
        result = world.run(ZERO, *selected)
        assert result.success
        assert sorted(metadata(result)) == selected
        assert failed_checks(result) == []
        assert ([world.stored(table) for table in TABLES], world.parquet_bytes()) == before


def test_a_lost_parquet_file_is_written_again_by_the_export_alone(world: World) -> None:
    world.import_file(ZERO, world.write(ZERO, snapshots=20, strikes=3))
    old = world.parquet_bytes()
    ZERO.published(world.settings, "strikes").unlink()
    assert world.run(ZERO, "snapshots_parquet", "strikes_parquet").success
    assert world.parquet_bytes() == old


@pytest.mark.parametrize(
    ("selected", "said"),
    [
        ("staged_snapshots", "materialize history_file first"),
        ("gex_snapshots", "materialize staged_snapshots first"),
        ("snapshots_parquet", "import it first"),
    ],
)
def test_a_step_that_lacks_what_comes_before_it_says_so(world: World, selected: str, said: str) -> None:
    with lease(world.settings.database_path, purpose="create") as connection:
        ensure_schema(connection)
    other = selected.replace("snapshots", "strikes")
    result = world.run(ZERO, selected, other)
    assert said in failure(result)
    assert retries(result) == 0


# Where the file comes from


def test_without_any_source_the_run_fails_once_and_says_what_to_do(world: World) -> None:
    result = world.run(ZERO)
    place = ZERO.source(world.settings)
    assert failure(result) == (
        f"there is no history file for {ZERO.key}: announce its URL with POST /gex_history_url, "
        f"set GEXBOT_API_KEY, or put the file at {place}.json"
    )
    assert retries(result) == 0
    assert not world.settings.database_path.exists()


def test_a_file_put_in_place_is_imported(world: World) -> None:
    path = world.write(ZERO)
    place = ZERO.source(world.settings)
    place.parent.mkdir(parents=True)
    path.rename(place.with_name(f"{place.name}.json"))
    result = world.run(ZERO)
    assert result.success
    assert metadata(result)["history_file"]["origin"] == "put in place by hand"
    assert_equal_to_file(world, ZERO, place.with_name(f"{place.name}.json"))


def test_with_a_key_the_file_comes_from_gexbots_api(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "API_PAUSE_SECONDS", 0.0)
    path = world.write(ZERO)
    api = {"gexbot_api_key": "demo-key", "gexbot_api_url": f"{world.gexbot.base_url}/v2"}
    world.settings = load_settings(data_dir=world.settings.data_dir, history_hosts=world.gexbot.host, **api)
    result = world.run(ZERO)
    assert result.success
    assert metadata(result)["history_file"]["origin"] == "GexBot history API"
    assert_equal_to_file(world, ZERO, path)


def test_a_file_is_fetched_again_only_when_it_was_announced_again(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=3)
    world.import_file(ZERO, path)
    assert metadata(world.run(ZERO))["history_file"]["origin"] == "already downloaded"
    assert len(world.gexbot.requests) == 1
    assert metadata(world.import_file(ZERO, path))["history_file"]["origin"] == "announced URL"
    assert len(world.gexbot.requests) == 2


def use_the_api(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "API_PAUSE_SECONDS", 0.0)
    api = {"gexbot_api_key": "demo-key", "gexbot_api_url": f"{world.gexbot.base_url}/v2"}
    world.settings = load_settings(data_dir=world.settings.data_dir, history_hosts=world.gexbot.host, **api)


def test_a_file_that_came_truncated_is_fetched_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use_the_api(world, monkeypatch)
    path = world.write(ZERO, snapshots=20, strikes=2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-300])
    assert "download it again" in failure(world.run(ZERO))
    path.write_bytes(whole)
    assert world.run(ZERO).success


def test_a_file_put_in_place_is_taken_when_the_api_has_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use_the_api(world, monkeypatch)
    place = ZERO.source(world.settings)
    place.parent.mkdir(parents=True)
    world.write(ZERO, snapshots=20, strikes=2).rename(place.with_name(f"{place.name}.json"))
    assert metadata(world.run(ZERO))["history_file"]["origin"] == "put in place by hand"


def test_a_file_announced_while_another_is_fetched_is_newer_than_it(world: World) -> None:
    first = world.write(ZERO, snapshots=20, strikes=3)
    world.announce(ZERO, first)
    slow = world.gexbot.signed_url(first.name, bytes_per_second=20_000)
    world.queue(ZERO, slow)
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(obtain, world.settings, ZERO, lambda *_: None)
        while not world.gexbot.requests:
            time.sleep(0.01)
        more = world.gexbot.directory / "2025-11-14_NQ_NDX_classic_gex_zero_more.json"
        write_history_file(more, Session(feed=ZERO.feed, date=DAY, snapshots=30, strikes=3))
        world.announce(ZERO, more)
        fetching.result()
    assert obtain(world.settings, ZERO, lambda *_: None).file.path.read_bytes() == more.read_bytes()


def test_rows_that_another_run_staged_after_the_checks_are_judged_before_they_are_imported(world: World) -> None:
    path = world.write(ZERO, snapshots=20, strikes=3)
    world.announce(ZERO, path)
    assert world.run(ZERO, "history_file", "staged_snapshots", "staged_strikes").success
    wrong_day = world.gexbot.directory / "other.json"
    write_history_file(wrong_day, Session(feed=ZERO.feed, date=NEXT_DAY.date, snapshots=20, strikes=3))
    stage(world.settings, ZERO, SourceFile(wrong_day, sha256_of(wrong_day)))
    result = world.run(ZERO, "gex_snapshots", "gex_strikes")
    assert not result.success
    assert "do not pass their checks" in failure(result)
    assert "20 on another day" in failure(result)
    assert world.query("SELECT count(*) FROM gex_snapshots") == [(0,)]


@pytest.mark.usefixtures("short_pauses")
def test_a_download_that_is_cut_off_is_retried_by_the_step_and_resumed(world: World) -> None:
    path = world.write(ZERO)
    world.announce(ZERO, path, cut_after=50_000, cuts=1)
    result = world.run(ZERO)
    assert result.success
    assert retries(result) == 1
    assert [request.range for request in world.gexbot.requests] == [None, "bytes=50000-"]
    assert_equal_to_file(world, ZERO, path)


@pytest.mark.usefixtures("short_pauses")
def test_a_host_that_stays_down_is_asked_four_times(world: World) -> None:
    world.announce(ZERO, world.write(ZERO), status=503)
    result = world.run(ZERO)
    assert not result.success
    assert len(world.gexbot.requests) == 4


def test_an_expired_link_is_not_retried(world: World) -> None:
    world.announce(ZERO, world.write(ZERO), status=403)
    assert "announce the file with a fresh one" in failure(world.run(ZERO))
    assert len(world.gexbot.requests) == 1


def test_the_pauses_between_downloads_grow() -> None:
    policy = assets.DOWNLOAD_RETRIES
    assert (policy.max_retries, policy.delay, policy.backoff) == (3, 2, dg.Backoff.EXPONENTIAL)
    assert assets.history_file.op.retry_policy is policy


# Secrets


@pytest.mark.usefixtures("short_pauses")
def test_a_signed_query_string_is_nowhere_but_in_the_queue_table(
    tmp_path: Path, gexbot: GexBotStandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "data" / "dagster"
    home.mkdir(parents=True)
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        world = World(tmp_path, instance, gexbot)
        hosts = f"{gexbot.host},127.0.0.1:{free_port()}"
        world.settings = load_settings(data_dir=tmp_path / "data", history_hosts=hosts)
        path = world.write(ZERO, snapshots=1000, strikes=2, damage=spoiling(500))
        closed = f"http://{world.settings.history_hosts[1]}/{path.name}?sig=CLOSED"
        urls = [closed]
        world.queue(ZERO, closed)
        runs = [world.run(ZERO)]
        for behaviour in ({"status": 403}, {"cut_after": 9_000}):
            urls.append(world.announce(ZERO, path, **behaviour))
            runs.append(world.run(ZERO))
        assert [run.success for run in runs] == [False, False, True]

        queries = [url.partition("?")[2] for url in urls]
        secrets = {secret for query in queries for secret in (query, query.rpartition("sig=")[2], unquote(query))}
        texts = [json.dumps(_queued(world, ZERO)), *capfd.readouterr()]
        for run in runs:
            record = instance.get_run_by_id(run.run_id)
            assert record is not None
            texts += [repr(record), repr(record.tags), *(repr(entry) for entry in instance.all_logs(run.run_id))]
            texts += [dg.serialize_value(entry) for entry in instance.all_logs(run.run_id)]
        assert any("could not be fetched" in text for text in texts)
        for text in texts:
            assert not any(secret in text for secret in secrets)
    searched = 0
    for file in (each for each in (tmp_path / "data").rglob("*") if each.is_file()):
        if file == world.settings.database_path or file.parent == world.settings.database_backups_dir:
            assert file.suffix != ".db" or file.stat().st_mode & 0o077 == 0, file
            continue
        content = file.read_bytes() + str(file).encode()
        assert not any(secret.encode() in content for secret in secrets), file
        searched += 1
    assert searched > 10
    assert secrets & {str(row[0]).partition("?")[2] for row in world.query("SELECT url FROM gex_history_queue")}


def _queued(world: World, partition: Partition) -> Row:
    with lease(world.settings.database_path, purpose="look") as connection:
        request = find_request(connection, request_id(partition.feed, partition.date))
        assert request is not None
        return request.public()


# Backups


def test_an_import_is_preceded_by_a_backup_when_there_is_none_and_not_by_another(world: World) -> None:
    world.record_live({"timestamp": OPENING, "ticker": "SPX", "spot": 1, "strikes": []})
    for partition in (ZERO, ONE):
        assert world.import_file(partition, world.write(partition)).success
    (backup,) = list_backups(world.settings.database_backups_dir)
    assert backup.manifest.reason == f"before the import of {ZERO.key}"
    assert backup.manifest.tables["gex_snapshots"].rows == 1


def test_nothing_is_imported_when_the_backup_before_it_fails(world: World) -> None:
    world.record_live({"timestamp": OPENING, "ticker": "SPX", "spot": 1, "strikes": []})
    world.settings.backups_dir.mkdir()
    world.settings.database_backups_dir.write_text("in the way")
    result = world.import_file(ZERO, world.write(ZERO))
    assert not result.success
    failure = result.failure_data_for_node("import_history")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "no backup can be kept in" in (failure.user_failure_data.description or "")
    assert world.query("SELECT count(*) FROM gex_snapshots") == [(1,)]
    world.settings.database_backups_dir.unlink()
    assert world.run(ZERO).success


def test_a_user_s_own_file_is_not_touched_before_the_loader_or_an_import_backed_it_up(world: World) -> None:
    world.settings.data_dir.mkdir()
    with duckdb.connect(world.settings.database_path) as connection:
        connection.execute("CREATE TABLE gex_snapshots AS SELECT 1::BIGINT AS timestamp, 'SPX' AS ticker")
    was = world.settings.database_path.read_bytes()
    with dg.build_sensor_context(instance=world.instance, resources={"settings": world.settings}) as context:
        sensors.history_queue_sensor(context)
    assert not world.run(ZERO).success
    assert world.settings.database_path.read_bytes() == was
