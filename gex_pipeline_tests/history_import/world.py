"""A data folder, a Dagster and a GexBot to import with, and what a history file says, read with nothing but json."""

import datetime as dt
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from gex_pipeline.definitions import defs
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.demo.sessions import Damage, Session, write_history_file
from gex_pipeline.feeds import Feed
from gex_pipeline.formats.columns import SNAPSHOTS_SCHEMA
from gex_pipeline.history import assets, checks
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.settings import load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.records import announce_url, capture_live

DAY = dt.date(2025, 11, 14)
OPENING = 1_763_130_601
SNAPSHOTS, STRIKES = 200, 8
ZERO = Partition(Feed("NQ_NDX", "gex_zero"), DAY)
ONE = Partition(Feed("NQ_NDX", "gex_one"), DAY)
NEXT_DAY = Partition(Feed("NQ_NDX", "gex_zero"), dt.date(2025, 11, 17))
ASSETS = [assets.history_file, assets.stage_history, assets.import_history, assets.export_history]
CHECKS = [checks.staged_checks, checks.stored_checks, checks.published_checks]
TABLES: tuple[Table, Table] = ("snapshots", "strikes")

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
        announce_url(self.settings, partition, url)
        return url

    def run(
        self,
        partition: Partition = ZERO,
        *selected: str,
        config: Row | None = None,
        tags: dict[str, str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run the job, or only some of its assets, for one partition."""
        self.instance.add_dynamic_partitions("feed", [partition.feed.key])
        how: dict[str, Any] = {
            "partition_key": partition.key,
            "instance": self.instance,
            "resources": {"settings": self.settings},
            "raise_on_error": False,
            "run_config": config,
            "tags": tags,
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
        return [row for row in rows if partition is None or is_of(row, partition)]

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
        capture_live(self.settings, *captures)


def is_of(row: Row, partition: Partition) -> bool:
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


def failed_checks(
    result: dg.ExecuteInProcessResult, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> list[str]:
    """Return the checks that found an error; a session of few snapshots also has warnings."""
    return sorted(
        name for name, check in evaluations(result).items() if not check.passed and check.severity is severity
    )


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
