"""`gex import`: files and folders of every kind, in processes of their own, with what Dagster knows of them after."""

import datetime as dt
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, copytree, rmtree
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest
import requests
from dagster._core.definitions.partitions.utils import get_tags_from_multi_partition_key
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from filelock import FileLock

from gex_pipeline.dagster_home import prepare_dagster_home
from gex_pipeline.demo.sessions import Damage, Session, write_history_file
from gex_pipeline.feeds import Feed
from gex_pipeline.history.judging import PUBLISHED, STAGED, STORED, Check
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.files import sha256_of
from gex_pipeline_tests.processes import child, clean_environment, is_running, rows, running_gateway, wait_until

SNAPSHOTS, STRIKES = 100, 6
TABLES: tuple[Table, Table] = ("snapshots", "strikes")
ASSETS = (
    "history_file",
    "staged_snapshots",
    "staged_strikes",
    "gex_snapshots",
    "gex_strikes",
    "snapshots_parquet",
    "strikes_parquet",
)
CHECKS = (*STAGED, *STORED, *PUBLISHED)
PLACE = "data/source/gexbot/SPX/gex_full"
# What `gex import` is asked to do in most tests, from the folder that `make_files` fills.
PATHS = ("files", "files/../files", "files/2025-11-14_NQ_NDX_classic_gex_zero.json", PLACE, "gone.json")
ZERO, ONE = "2025-11-14|NQ_NDX:gex_zero", "2025-11-14|NQ_NDX:gex_one"
IN_PLACE, UNSAID, OURS = "2025-11-14|SPX:gex_full", "2025-11-18|SPX:gex_zero", "2025-11-17|SPX:gex_zero"
LINKED, BAD = "2025-11-24|SPX:gex_zero", "2025-11-20|SPX:gex_zero"
IMPORTED = {ZERO, ONE, IN_PLACE, UNSAID, OURS, LINKED}
HOLDER = """
import duckdb
with duckdb.connect(sys.argv[1]):
    print("ready", flush=True)
    time.sleep(float(sys.argv[2]))
"""
NOISE = ("Traceback", "Warning", "leaked", "nanobind", "resource_tracker")

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Told:
    """What one run of the command said."""

    code: int
    summary: str
    lines: list[str]

    def of(self, name: str) -> str:
        """Return the one line in which this stands."""
        [line] = [line for line in self.lines if name in line]
        return line


def write(path: Path, key: str, *, gzip: bool = False, damage: Damage | None = None, **session: Any) -> Path:
    partition = Partition.parse(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = {"snapshots": SNAPSHOTS, "strikes": STRIKES} | session
    write_history_file(path, Session(feed=partition.feed, date=partition.date, **sizes), gzip=gzip, damage=damage)
    return path


def spoil(index: int, record: bytes) -> bytes:
    """Damage 2 of 200 records."""
    return record.replace(b'"spot":', b'"spot":"high","x":') if index in {7, 70} else record


def make_files(folder: Path) -> None:
    """Fill a folder with files of every kind, and put one into its place by hand."""
    files = folder / "files"
    zero = write(files / "2025-11-14_NQ_NDX_classic_gex_zero.json", ZERO)
    write(files / "2025-11-14_NQ_NDX_classic_gex_one.json", ONE)
    (files / "again").mkdir()
    copyfile(zero, files / "again" / "20251114_NQ_NDX_gex_zero_history.json")
    write(files / "other" / "2025-11-14_NQ_NDX_zero.json", ZERO, snapshots=SNAPSHOTS + 10, seed=1)
    write(files / "nested" / "deeper" / "20251117_SPX_gex_zero_history.json.gz", OURS, gzip=True)
    write(files / "nested" / "2025-11-18_SPX_classic.json", UNSAID)
    (files / "2025-11-24_SPX_classic_gex_zero.json").symlink_to("../elsewhere/session")
    write(folder / "elsewhere" / "session", LINKED)
    write(folder / PLACE / "20251114_SPX_gex_full_history.json", IN_PLACE)

    write(files / "2025-11-27_SPX_classic_gex_zero.json", "2025-11-27|SPX:gex_zero")
    whole = write(files / "2025-11-19_SPX_classic_gex_zero.json", "2025-11-19|SPX:gex_zero")
    whole.write_bytes(whole.read_bytes()[:-100])
    write(files / "2025-11-20_SPX_classic_gex_zero.json", BAD, snapshots=200, damage=spoil)
    (files / "2025-11-21_SPX_classic_gex_zero.json").touch()
    (files / "[bold]notes.json").write_text("[]")
    with suppress(OSError):  # a file system may refuse a name that is no UTF-8
        (files / os.fsdecode(b"caf\xe9.json")).write_text("[]")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gex_pipeline.cli", "import", *arguments]


def run(folder: Path, *arguments: str, data_dir: str = "data") -> Told:
    """Run the command in a folder, its data folder named relative to that; it must say nothing besides its lines."""
    ended = subprocess.run(
        command(*arguments),
        env=clean_environment(GEX_DATA_DIR=data_dir),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = Told(ended.returncode, ended.stdout.strip(), ended.stderr.splitlines())
    assert not [word for word in NOISE if word in ended.stdout + ended.stderr], ended.stderr
    statuses = ("imported ", "skipped ", "refused ", "failed ")
    assert [line for line in told.lines if not line.startswith(statuses)] == []
    return told


def settings_of(folder: Path) -> Settings:
    return load_settings(data_dir=folder / "data")


@contextmanager
def dagster_of(folder: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(folder / "data" / "dagster")) as instance:
        yield instance


def query(folder: Path, sql: str) -> list[Row]:
    return rows(folder / "data" / "gex_data.db", sql)


def stored(folder: Path) -> dict[str, list[Row]]:
    """Return all rows that came from files, without what tells one import from another."""
    return {
        table: query(folder, f"SELECT * EXCLUDE (import_id) FROM gex_{table} ORDER BY ALL")  # noqa: S608
        for table in TABLES
    }


def published(folder: Path) -> dict[str, str]:
    parquet = folder / "data" / "parquet"
    return {str(path.relative_to(parquet)): sha256_of(path) for path in sorted(parquet.rglob("*.parquet"))}


def materialized(instance: dg.DagsterInstance) -> dict[str, set[str]]:
    return {asset: instance.get_materialized_partitions(dg.AssetKey(asset)) for asset in ASSETS}


def verdicts(instance: dg.DagsterInstance, check: Check) -> dict[str | None, bool]:
    """Return for each partition what the check's last verdict is."""
    key = dg.AssetCheckKey(dg.AssetKey(check.asset), check.name)
    return {
        info.partition_key: info.latest_execution_status is AssetCheckExecutionRecordStatus.SUCCEEDED
        for info in instance.event_log_storage.get_asset_check_partition_info([key])
    }


def assert_whole(folder: Path, keys: set[str]) -> None:
    """Look at what is there of these partitions: rows, Parquet, materializations and good verdicts."""
    settings = settings_of(folder)
    for partition in map(Partition.parse, keys):
        feed = partition.feed
        where = (
            f"WHERE ticker = '{feed.ticker}' AND endpoint = '{feed.endpoint}' "
            f"AND to_timestamp(timestamp / 1000)::DATE = '{partition.date}'"
        )
        for table in TABLES:
            [(count,)] = query(folder, f"SELECT count(*) FROM gex_{table} {where}")  # noqa: S608
            assert count >= SNAPSHOTS
            assert pq.read_metadata(partition.published(settings, table)).num_rows == count
    with dagster_of(folder) as instance:
        assert {asset: known & keys for asset, known in materialized(instance).items()} == dict.fromkeys(ASSETS, keys)
        for check in CHECKS:
            assert {key for key, passed in verdicts(instance, check).items() if passed} >= keys
        assert {Partition.parse(key).feed.key for key in keys} <= set(instance.get_dynamic_partitions("feed"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    """A folder with files of every kind after one import of all of them, and what that said."""
    folder = tmp_path_factory.mktemp("world")
    make_files(folder)
    return folder, run(folder, *PATHS)


@pytest.fixture
def copy(world: tuple[Path, Told], tmp_path: Path) -> Path:
    """A copy of that folder, to go on with."""
    folder = tmp_path / "copy"
    copytree(world[0], folder, symlinks=True)
    return folder


# What is said


def test_each_file_has_a_line_and_the_summary_counts_them(world: tuple[Path, Told]) -> None:
    _, told = world
    refused = len([line for line in told.lines if line.startswith("refused ")])
    assert (told.code, told.summary) == (1, f"7 imported, 1 skipped, {refused} refused, 0 failed")
    assert len(told.lines) == 8 + refused
    assert told.of("/again/") == "skipped files/again/20251114_NQ_NDX_gex_zero_history.json"
    assert told.of("deeper") == "imported files/nested/deeper/20251117_SPX_gex_zero_history.json.gz"
    assert told.of("/20251114_SPX_gex_full") == (
        "imported data/source/gexbot/SPX/gex_full/20251114_SPX_gex_full_history.json"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.json", "there is no such file"),
        ("[bold]notes.json", "its name does not say what it is of; give --ticker and --date"),
        ("2025-11-27_SPX", "2025-11-27 is not an NYSE trading day since 2022-01-03"),
        ("2025-11-19_SPX", "the file ends in the middle of"),
        ("2025-11-20_SPX", "staged_snapshots bad_records: 2 of 200 records are bad (1.00%, at most 0.1% may be)"),
        ("2025-11-21_SPX", "is empty; download it again"),
    ],
)
def test_a_file_that_is_refused_is_told_with_its_reason(world: tuple[Path, Told], name: str, reason: str) -> None:
    line = world[1].of(name)
    assert line.startswith("refused ")
    assert reason in line


# What is there afterwards


def test_what_was_imported_is_whole_in_every_place(world: tuple[Path, Told]) -> None:
    folder, _ = world
    assert_whole(folder, IMPORTED)
    assert len(published(folder)) == 2 * len(IMPORTED)


def test_of_two_files_of_a_day_the_first_stays_and_what_the_second_says_otherwise_is_listed(
    world: tuple[Path, Told],
) -> None:
    folder, _ = world
    lines = query(
        folder,
        "SELECT records_imported, records_present, records_differing FROM data_lineage "
        "WHERE ticker = 'NQ_NDX' AND endpoint = 'gex_zero' ORDER BY import_id",
    )
    assert lines == [(SNAPSHOTS, 0, 0), (10, SNAPSHOTS, SNAPSHOTS)]
    [report] = (folder / "data" / "conflicts").rglob("*.parquet")
    assert report.parent.name == "gex_zero"
    assert pq.read_metadata(report).num_rows > 0


def test_every_line_in_the_lineage_names_the_run_that_dagster_knows(world: tuple[Path, Told]) -> None:
    folder, _ = world
    [(run_id,)] = query(folder, "SELECT DISTINCT run_id FROM data_lineage")
    assert query(folder, "SELECT status, count(*) FROM data_lineage GROUP BY ALL ORDER BY ALL") == [
        ("imported", 7),
        ("refused", 3),
    ]
    with dagster_of(folder) as instance:
        [known] = instance.get_runs()
        assert (known.run_id, known.job_name, known.status) == (run_id, "gex_import", dg.DagsterRunStatus.SUCCESS)


def test_dagster_has_failed_verdicts_of_what_was_refused_and_no_rows_of_it(world: tuple[Path, Told]) -> None:
    folder, _ = world
    with dagster_of(folder) as instance:
        of_staged = {(check.asset, check.name): verdicts(instance, check) for check in STAGED}
        failed = {(check, key) for check, known in of_staged.items() for key, passed in known.items() if not passed}
        assert failed == {(("staged_snapshots", "bad_records"), BAD)}
        assert all(verdicts(instance, check).keys() == IMPORTED for check in (*STORED, *PUBLISHED))
        there = materialized(instance)
    assert {asset for asset, keys in there.items() if BAD in keys} == {
        "history_file",
        "staged_snapshots",
        "staged_strikes",
    }
    assert query(folder, "SELECT DISTINCT date FROM data_lineage WHERE status = 'refused' ORDER BY date") == [
        (dt.date(2025, 11, day),) for day in (19, 20, 21)
    ]
    assert query(folder, "SELECT count(*) FROM gex_snapshots WHERE timestamp >= 1763596800000 "
                         "AND timestamp < 1763856000000") == [(0,)]  # fmt: skip


def test_a_materialization_is_recorded_as_a_run_of_the_partition_would(world: tuple[Path, Told]) -> None:
    folder, _ = world
    with dagster_of(folder) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("strikes_parquet"))
    assert event is not None
    materialization = event.asset_materialization
    assert materialization is not None
    assert isinstance(materialization.partition, dg.MultiPartitionKey)
    assert materialization.tags == get_tags_from_multi_partition_key(materialization.partition)
    assert materialization.metadata["dagster/partition_row_count"].value == SNAPSHOTS * STRIKES


def test_no_file_of_the_user_is_changed_and_no_half_file_is_left(world: tuple[Path, Told], tmp_path: Path) -> None:
    folder, _ = world
    make_files(tmp_path)
    assert {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == {
        name: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and (tmp_path / (name := str(path.relative_to(folder)))).exists()
    }
    assert [path.name for path in folder.rglob("*") if path.suffix in {".part", ".tmp", ".etag"}] == []
    assert not any(path.is_symlink() for path in (folder / "data").rglob("*"))


# Again


def test_the_same_command_again_skips_what_is_done_and_changes_nothing(copy: Path) -> None:
    before = stored(copy), published(copy)
    lines = "SELECT count(*) FROM data_lineage WHERE status <> 'refused'"
    [(imported,)] = query(copy, lines)
    told = run(copy, *PATHS)
    refused = len([line for line in told.lines if line.startswith("refused ")])
    assert (told.code, told.summary) == (1, f"0 imported, 8 skipped, {refused} refused, 0 failed")
    assert (stored(copy), published(copy)) == before
    assert query(copy, lines) == [(imported,)]
    # A second name of the user's file that waits to be downloaded into would be written to.
    assert [path.name for path in (copy / "data").rglob("*.part")] == []


def test_a_day_of_which_something_is_missing_is_made_whole_and_no_other(copy: Path) -> None:
    before = stored(copy), published(copy)
    Partition.parse(OURS).published(settings_of(copy), "snapshots").unlink()
    evaluation = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey("gex_strikes"), check_name="matches_file", passed=False, metadata={}, partition=UNSAID
    )
    with dagster_of(copy) as instance:
        instance.report_runless_asset_event(evaluation)
    told = run(copy, "files/nested", "data/source/gexbot/NQ_NDX")
    assert (told.code, told.summary) == (0, "2 imported, 2 skipped, 0 refused, 0 failed")
    assert told.of("nested/deeper").startswith("imported ")
    assert told.of("nested/2025-11-18").startswith("imported ")
    assert (stored(copy), published(copy)) == before
    assert_whole(copy, IMPORTED)


def test_a_dagster_that_was_wiped_knows_everything_again(copy: Path) -> None:
    before = stored(copy), published(copy)
    rmtree(copy / "data" / "dagster")
    prepare_dagster_home(settings_of(copy))
    with dagster_of(copy) as instance:
        # The command may be killed between a day's last materialization and its verdicts.
        instance.report_runless_asset_event(dg.AssetMaterialization("strikes_parquet", partition=OURS))
    told = run(copy, "files/nested", "data/source/gexbot/NQ_NDX")
    assert (told.code, told.summary) == (0, "4 imported, 0 skipped, 0 refused, 0 failed")
    assert (stored(copy), published(copy)) == before
    assert_whole(copy, {ZERO, ONE, OURS, UNSAID})


def test_flags_say_what_names_do_not(tmp_path: Path) -> None:
    write(tmp_path / "today.json", "2025-11-25|SPX:gex_one")
    told = run(tmp_path, "today.json", "--ticker", "spx", "--endpoint", "one", "--date", "2025-11-25")
    assert (told.code, told.summary) == (0, "1 imported, 0 skipped, 0 refused, 0 failed")
    assert_whole(tmp_path, {"2025-11-25|SPX:gex_one"})


# Cut off

DAYS = (3, 4, 5, 6, 7, 10, 11, 12, 13, 14)
MANY = {f"2025-11-{day:02d}|SPX:gex_zero" for day in DAYS}


class Running:
    """The command at work on many days, in a session of its own."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            command("many"),
            env=clean_environment(GEX_DATA_DIR="data"),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def read_until(self, beginning: str) -> list[str]:
        """Return what it says up to the first line that begins so."""
        assert self.process.stderr is not None
        lines: list[str] = []
        while not (lines and lines[-1].startswith(beginning)):
            lines.append(self.process.stderr.readline())
            assert lines[-1], lines
        return lines

    def workers(self) -> list[int]:
        """Return the process ids of those who stage."""
        found = []
        for status in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                is_of_session = os.getsid(int(status.parent.name)) == self.process.pid
                if is_of_session and "spawn_main" in status.read_text() and is_running(int(status.parent.name)):
                    found.append(int(status.parent.name))
        return found

    def end(self) -> Told:
        """Wait for the end, of all its processes too."""
        output, errors = self.process.communicate(timeout=60)
        wait_until(lambda: not self.workers(), 10)
        # Python says what a process that was killed had no chance to put away.
        if self.process.returncode != -signal.SIGKILL:
            assert not [word for word in NOISE if word in output + errors], errors
        return Told(self.process.returncode, output.strip(), errors.splitlines())


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    started = Running(folder)
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.process.pid, signal.SIGKILL)
        started.process.wait()


@pytest.fixture(scope="module")
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


def test_an_import_that_is_cut_off_leaves_whole_days_and_the_same_command_goes_on(
    many: Path, undisturbed: Path
) -> None:
    done = 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with running(many) as started:
            lines = started.read_until("imported ")
            started.process.send_signal(number)
            told = started.end()
        if number is signal.SIGKILL:
            assert told.code == -number
        else:
            assert told.code == 130
            left = len(MANY) - len(lines) - len(told.lines)
            assert told.summary == f"interrupted with {left} files left; the same command goes on with them"
        assert len([line for line in lines if line.startswith("skipped ")]) >= done
        days = [
            query(many, f"SELECT count(*) FROM gex_{table} GROUP BY timestamp // 86400000")  # noqa: S608
            for table in TABLES
        ]
        assert done < len(days[0]) == len(days[1]) < len(MANY)
        assert [set(sizes) for sizes in days] == [{(SNAPSHOTS,)}, {(SNAPSHOTS * STRIKES,)}]
        done = len(days[0])
    with dagster_of(many) as instance:
        interrupted = [each.status for each in instance.get_runs()][1:]
        assert interrupted == [dg.DagsterRunStatus.CANCELED] * 2
    assert query(many, "SELECT count(*) FROM data_lineage WHERE status NOT IN ('imported', 'unchanged')") == [(0,)]

    told = run(many, "many")
    imported, skipped = (len([line for line in told.lines if line.startswith(word)]) for word in ("imported", "skip"))
    assert (told.code, told.summary) == (0, f"{imported} imported, {skipped} skipped, 0 refused, 0 failed")
    assert imported + skipped == len(MANY)
    assert stored(many) == stored(undisturbed)
    assert published(many) == published(undisturbed)
    assert_whole(many, MANY)


def test_ctrl_c_while_the_staging_processes_start_is_as_quiet(many: Path) -> None:
    with running(many) as started:
        wait_until(started.workers, 30)
        time.sleep(0.4)  # they import their modules by then
        os.killpg(started.process.pid, signal.SIGINT)
        told = started.end()
    assert told.code == 130
    assert told.summary.startswith("interrupted with ")


def test_a_file_whose_staging_process_is_killed_fails_alone(many: Path) -> None:
    """As when memory runs out: the process that has the first file is killed, and so is the second one that tries."""
    first = Partition(Feed("SPX", "gex_zero"), dt.date(2025, 11, 3))
    settings = settings_of(many)
    locked = first.staged(settings, "snapshots").with_name(".20251103.lock")
    locked.parent.mkdir(parents=True)
    with FileLock(locked), running(many) as started:
        wait_until(lambda: first.source(settings).with_suffix(".json.sha256").exists(), 30)
        before = set(started.workers())
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        (many / "many" / "2025-11-12_SPX_classic_gex_zero.json").unlink()
        wait_until(lambda: set(started.workers()) - before, 30)
        for worker in started.workers():
            os.kill(worker, signal.SIGKILL)
        told = started.end()
    assert (told.code, told.summary) == (1, f"{len(MANY) - 2} imported, 0 skipped, 0 refused, 2 failed")
    assert told.of("2025-11-03").endswith(": the process that read it was killed; was memory short?")
    assert "No such file or directory" in told.of("2025-11-12")
    assert_whole(many, {key for key in MANY if not key.startswith(("2025-11-03", "2025-11-12"))})


# In company


def test_a_terminal_gets_a_bar_and_a_line_only_for_what_went_wrong(tmp_path: Path) -> None:
    for key in (OURS, UNSAID):
        write(tmp_path / "two" / f"{key[:10]}_SPX.json", key)
    (tmp_path / "two" / "notes.json").touch()
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("two"),
        env=clean_environment(GEX_DATA_DIR="data", TERM="xterm-256color", COLUMNS="100"),
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # Linux says so when the other end is closed
            while some := os.read(ours, 65536):
                shown += some
        os.close(ours)
    text = shown.decode()
    assert process.returncode == 1
    assert "━" in text
    assert "3/3" in text
    assert "refused two/notes.json: its name does not say" in text
    assert "imported two" not in text
    assert "2 imported, 0 skipped, 1 refused, 0 failed" in text
    assert not [word for word in NOISE if word in text], text


def test_files_are_imported_while_captures_come_in_and_none_of_either_is_lost(many: Path, undisturbed: Path) -> None:
    stop, sent = threading.Event(), 0
    with running_gateway(many / "data") as gateway:

        def capture() -> None:
            nonlocal sent
            with requests.Session() as session:
                while not stop.wait(0.02):
                    snapshot = {
                        "timestamp": 1_763_130_600 + sent,
                        "ticker": "LIVE",
                        "spot": 1,
                        "strikes": [[5, 1, 2]],
                    }
                    assert session.post(f"{gateway.url}/gex", json=snapshot, timeout=30).status_code == 202
                    sent += 1

        client = threading.Thread(target=capture)
        client.start()
        try:
            told = run(many, "many")
        finally:
            stop.set()
            client.join()
        gateway.wait_until_loaded()
    assert (told.code, told.summary) == (0, f"{len(MANY)} imported, 0 skipped, 0 refused, 0 failed")
    assert sent > 10
    live = "FROM gex_snapshots WHERE ticker = 'LIVE'"
    assert query(many, f"SELECT count(*), count(DISTINCT timestamp) {live}") == [(sent, sent)]
    history = stored(many)["snapshots"]
    assert [row for row in history if row[1] == "SPX"] == stored(undisturbed)["snapshots"]
    assert_whole(many, MANY)


def test_a_database_that_is_held_for_some_seconds_only_delays(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "2025-11-25_SPX.json", "2025-11-25|SPX:gex_zero")
    began = time.monotonic()
    with child(HOLDER, tmp_path / "data" / "gex_data.db", 5):
        told = run(tmp_path, "2025-11-25_SPX.json")
    assert (told.code, told.summary) == (0, "1 imported, 0 skipped, 0 refused, 0 failed")
    assert time.monotonic() - began > 5
    assert_whole(tmp_path, {"2025-11-25|SPX:gex_zero"})
