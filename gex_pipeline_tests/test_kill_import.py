"""The history import killed at any moment: all rows or none, whole files or none, and a second run completes it."""

import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.demo.sessions import Session, write_history_file
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import fetch_row, lease
from gex_pipeline_tests.kill_points import Forks
from gex_pipeline_tests.processes import is_running, wait_until
from gex_pipeline_tests.records import announce_url

PARTITION = Partition.parse("2025-11-14|NQ_NDX:gex_zero")
NAME = "2025-11-14_NQ_NDX_classic_gex_zero.json"
TABLES: tuple[Table, Table] = ("snapshots", "strikes")
SNAPSHOTS, STRIKES = 1000, 100
RANDOM_MOMENTS = 12
AT_ONCE = 2

# Forks one process for each order on its standard input. An order may name a function and the call of it at which
# the process says where it is, and then either stays there or goes on.
FORKS = """
import importlib, json, os, signal, sys, time, traceback
from pathlib import Path
from gex_pipeline.errors import TransientError
from gex_pipeline.history.exporting import export_day
from gex_pipeline.history.importing import import_staged
from gex_pipeline.history.obtaining import obtain
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.staging import stage
from gex_pipeline.settings import load_settings

def watch(place, call, stays, note):
    module_name, name = place.split(":")
    module = importlib.import_module(module_name)
    function, calls = getattr(module, name), []
    def watched(*arguments, **named):
        calls.append(name)
        if len(calls) == call:
            note.write_text("")
            time.sleep(120 if stays else 0)
        return function(*arguments, **named)
    setattr(module, name, watched)

def run(order):
    folder = Path(order["folder"])
    settings = load_settings(data_dir=folder / "data", history_hosts=order["host"])
    partition = Partition.parse(order["partition"])
    if order["place"]:
        watch(order["place"], order["call"], order["stays"], folder / "reached")
    try:
        file = obtain(settings, partition, lambda *_: None).file
    except TransientError:
        file = obtain(settings, partition, lambda *_: None).file
    stage(settings, partition, file)
    import_staged(settings, partition, "run")
    for table in ("snapshots", "strikes"):
        export_day(settings, partition, table)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    outcome = "done"
    try:
        run(order)
    except BaseException:
        outcome = traceback.format_exc()
    Path(order["folder"], "outcome").write_text(outcome)
    os._exit(0)
"""


@dataclass(frozen=True)
class Moment:
    """When a process is killed.

    Attributes:
        after: share of a whole run's time, or seconds after the place was reached.
        place: a function, `module:name`, whose call this is about; None counts from the start.
        call: which call of it.
        stays: whether the process waits there to be killed.
    """

    after: float = 0.0
    place: str | None = None
    call: int = 1
    stays: bool = True

    def __str__(self) -> str:
        """Name it in a failure."""
        where = f"{self.place} #{self.call}{'' if self.stays else ' going on'}" if self.place else "start"
        return f"{where} + {self.after:.4f}"


RNG = random.Random(20251114)
MOMENTS = [
    *(Moment(after=RNG.uniform(0, 1.05)) for _ in range(RANDOM_MOMENTS)),
    # In the transaction: as it begins, between the two tables, with all rows in it, and while it is committed.
    Moment(place="gex_pipeline.history.importing:next_import_id"),
    Moment(place="gex_pipeline.storage.snapshots:_insert", call=2),
    Moment(place="gex_pipeline.history.importing:record_import"),
    *(
        Moment(place="gex_pipeline.history.importing:record_import", stays=False, after=RNG.uniform(0, 0.15))
        for _ in range(4)
    ),
    # After the commit, before anything is published.
    Moment(place="gex_pipeline.history.importing:ImportResult"),
    # The download has its name, but no checksum yet.
    Moment(place="gex_pipeline.history.download:_record"),
    # Before and after files get their names: 3 to 6 are the staged ones, 7 to 10 the published ones.
    *(Moment(place="gex_pipeline.storage.files:sync", call=call) for call in (3, 4, 5, 7, 8, 9)),
]


@dataclass(frozen=True)
class Order:
    """What a process shall do: import in a folder from a host, and be watched at a place."""

    folder: str
    host: str
    partition: str
    place: str | None
    call: int
    stays: bool


def start(forks: Forks, folder: Path, host: str, moment: Moment) -> int:
    """Start one import in a folder and return its process id."""
    for name in ("reached", "outcome"):
        (folder / name).unlink(missing_ok=True)
    return forks.start(Order(str(folder), host, PARTITION.key, moment.place, moment.call, moment.stays))


@dataclass(frozen=True)
class Whole:
    """What a complete import leaves: checked against the file once, then compared with."""

    checksums: dict[Table, tuple[int, int]]
    parquet: dict[Table, str]
    source: str
    seconds: float


@pytest.fixture(scope="module")
def gexbot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GexBotStandIn]:
    folder = tmp_path_factory.mktemp("gexbot")
    session = Session(feed=PARTITION.feed, date=PARTITION.date, snapshots=SNAPSHOTS, strikes=STRIKES)
    write_history_file(folder / NAME, session)
    with GexBotStandIn(folder) as running:
        yield running


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    running = Forks("-c", FORKS)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, gexbot: GexBotStandIn, forks: Forks) -> Whole:
    """Import once without being killed, and compare what is there with the file."""
    folder = tmp_path_factory.mktemp("whole")
    settings = prepare(folder, gexbot)
    started = time.monotonic()
    run_to_the_end(forks, folder, gexbot)
    seconds = time.monotonic() - started
    records = json.loads((gexbot.directory / NAME).read_bytes())
    assert [row[0] for row in query(settings, "SELECT timestamp FROM gex_snapshots ORDER BY timestamp")] == [
        record["timestamp"] * 1000 for record in records
    ]
    expected = [(record["timestamp"] * 1000, *strike) for record in records for strike in record["strikes"]]
    assert expected == query(
        settings, "SELECT timestamp, strike, gamma, oi_gamma, priors FROM gex_strikes ORDER BY timestamp, strike"
    )
    return Whole(
        {table: checksum(settings, table) for table in TABLES},
        {table: digest(PARTITION.published(settings, table)) for table in TABLES},
        digest(gexbot.directory / NAME),
        seconds,
    )


def prepare(folder: Path, gexbot: GexBotStandIn) -> Settings:
    """Make a data folder whose queue knows the file's URL."""
    settings = load_settings(data_dir=folder / "data", history_hosts=gexbot.host)
    announce_url(settings, PARTITION, gexbot.signed_url(NAME))
    return settings


def run_to_the_end(forks: Forks, folder: Path, gexbot: GexBotStandIn) -> None:
    process_id = start(forks, folder, gexbot.host, Moment())
    wait_until(lambda: not is_running(process_id), 60)
    assert (folder / "outcome").read_text() == "done"


def kill_at(moment: Moment, seconds: float, forks: Forks, folder: Path, gexbot: GexBotStandIn) -> None:
    process_id = start(forks, folder, gexbot.host, moment)
    if moment.place:
        wait_until(lambda: (folder / "reached").exists() or not is_running(process_id), 60)
        assert (folder / "reached").exists(), (folder / "outcome").read_text()
        time.sleep(moment.after)
    else:
        time.sleep(moment.after * seconds)
    if is_running(process_id):
        os.kill(process_id, signal.SIGKILL)
    wait_until(lambda: not is_running(process_id), 10)


def query(settings: Settings, sql: str) -> list[Any]:
    with lease(settings.database_path, purpose="look", timeout_seconds=10) as connection:
        return connection.execute(sql).fetchall()


def checksum(settings: Settings, table: Table, source: str | None = None) -> tuple[int, int]:
    """Return number and checksum of the rows of a table, or of a Parquet file with its columns."""
    left_out = "import_id" if table == "snapshots" else "import_id, source, vanna"
    rows = f"(SELECT * EXCLUDE ({left_out}) FROM gex_{table})"  # noqa: S608
    with lease(settings.database_path, purpose="look", timeout_seconds=10) as connection:
        names = [column[0] for column in connection.execute(f"DESCRIBE {rows}").fetchall()]
        sql = f"SELECT count(*), coalesce(sum(hash({', '.join(names)})::HUGEINT), 0) FROM {source or rows}"  # noqa: S608
        count, total = fetch_row(connection, sql) or (0, 0)
    return int(count), int(total)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_nothing_is_half(settings: Settings, whole: Whole) -> None:
    """Look at what a killed process left: every part is whole or absent."""
    stored = {table: checksum(settings, table) for table in TABLES}
    assert stored in (whole.checksums, dict.fromkeys(TABLES, (0, 0)))
    [(imported,)] = query(settings, "SELECT count(*) FROM data_lineage WHERE status = 'imported'")
    assert imported == (stored == whole.checksums)

    published = {PARTITION.published(settings, table): table for table in TABLES}
    for path in settings.parquet_path.rglob("*.parquet"):
        assert checksum(settings, published[path], f"read_parquet('{path}')") == stored[published[path]]
        assert stored == whole.checksums
    for path in settings.staging_path.rglob("*.parquet"):
        rows = {PARTITION.staged(settings, table): whole.checksums[table][0] for table in TABLES}
        assert pq.read_table(path).num_rows == rows[path]
    for path in settings.source_dir.rglob("*.json"):
        assert digest(path) == whole.source


def assert_complete(settings: Settings, whole: Whole) -> None:
    """Look at what a complete run leaves: everything of the file once, and nothing of the killed run."""
    assert {table: checksum(settings, table) for table in TABLES} == whole.checksums
    assert {table: digest(PARTITION.published(settings, table)) for table in TABLES} == whole.parquet
    assert query(settings, "SELECT count(*) FROM data_lineage WHERE status = 'imported'") == [(1,)]
    assert query(settings, "SELECT DISTINCT import_id FROM gex_strikes") == [(1,)]
    leftovers = [path.name for path in settings.data_dir.rglob("*") if path.suffix in {".tmp", ".part"}]
    assert leftovers == []
    assert not (settings.backups_dir / "parquet").exists()


def test_an_import_that_is_killed_at_any_moment_leaves_all_or_nothing_and_is_completed_by_the_next(
    tmp_path: Path, gexbot: GexBotStandIn, forks: Forks, whole: Whole
) -> None:
    def attempt(number: int) -> None:
        moment = MOMENTS[number]
        folder = tmp_path / str(number)
        settings = prepare(folder, gexbot)
        try:
            kill_at(moment, whole.seconds, forks, folder, gexbot)
            assert_nothing_is_half(settings, whole)
            run_to_the_end(forks, folder, gexbot)
            assert_complete(settings, whole)
        except AssertionError as error:
            error.add_note(f"killed at {moment}")
            raise

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(attempt, range(len(MOMENTS))))


def test_an_import_that_is_killed_over_and_over_is_completed_in_the_end(
    tmp_path: Path, gexbot: GexBotStandIn, forks: Forks, whole: Whole
) -> None:
    settings = prepare(tmp_path, gexbot)
    in_transaction = Moment(place="gex_pipeline.history.importing:record_import")
    for moment in (*MOMENTS[:3], in_transaction, *MOMENTS[3:5], in_transaction):
        kill_at(moment, whole.seconds, forks, tmp_path, gexbot)
        assert_nothing_is_half(settings, whole)
    run_to_the_end(forks, tmp_path, gexbot)
    assert_complete(settings, whole)
