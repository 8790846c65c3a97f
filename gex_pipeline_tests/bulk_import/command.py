"""The command `gex import`, files of every kind for it, and what is there after."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from gex_pipeline.definitions import defs
from gex_pipeline.demo.sessions import Damage, Session, write_history_file
from gex_pipeline.history.assets import GROUP
from gex_pipeline.history.judging import PUBLISHED, STAGED, STORED, Check
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.files import sha256_of
from gex_pipeline_tests.processes import clean_environment, rows

SNAPSHOTS, STRIKES = 100, 6
TABLES: tuple[Table, Table] = ("snapshots", "strikes")
ASSETS = [key.to_user_string() for key in dg.AssetSelection.groups(GROUP).resolve(defs.resolve_asset_graph())]
# A session of a hundred snapshots is no whole one: it has warnings.
CHECKS = [check for check in (*STAGED, *STORED, *PUBLISHED) if not check.is_warning]
PLACE = "data/source/gexbot/SPX/gex_full"
# What `gex import` is asked to do in most tests, from the folder that `make_files` fills.
PATHS = ("files", "files/../files", "files/2025-11-14_NQ_NDX_classic_gex_zero.json", PLACE, "gone.json")
ZERO, ONE = "2025-11-14|NQ_NDX:gex_zero", "2025-11-14|NQ_NDX:gex_one"
IN_PLACE, UNSAID, OURS = "2025-11-14|SPX:gex_full", "2025-11-18|SPX:gex_zero", "2025-11-17|SPX:gex_zero"
LINKED, BAD = "2025-11-24|SPX:gex_zero", "2025-11-20|SPX:gex_zero"
IMPORTED = {ZERO, ONE, IN_PLACE, UNSAID, OURS, LINKED}
DAYS = (3, 4, 5, 6, 7, 10, 11, 12)
MANY = {f"2025-11-{day:02d}|SPX:gex_zero" for day in DAYS}
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
        timeout=300,  # it gives way to all the other tests
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
        and info.is_current  # or Dagster's pages show the check as missing
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
