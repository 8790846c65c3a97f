"""What a demo left behind: read back from the database, the Parquet files and Dagster, compared with the source."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from gex_pipeline.demo.sessions import Session, snapshots
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import fetch_row, lease
from gex_pipeline.trading_days import day_bounds_ms


@dataclass(frozen=True)
class Comparison:
    """One line of the closing table."""

    what: str
    expected: str
    found: str

    @property
    def agrees(self) -> bool:
        """Whether what was found is what was expected."""
        return self.expected == self.found


@dataclass(frozen=True)
class CheckVerdict:
    """One asset check as Dagster recorded it."""

    asset: str
    name: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Evidence:
    """Rows by table or file, values summed up, verdicts and times.

    Attributes:
        rows: row counts by name of table or file.
        totals: (snapshots, strikes, sum of all gamma and priors) by place; equal when every value is.
    """

    run_id: str
    status: str
    rows: dict[str, int]
    totals: dict[str, tuple[int, int, float]]
    checks: list[CheckVerdict]
    step_seconds: dict[str, float]

    def comparisons(self, *, live_snapshots: int, messages: int, trades: int, records: int) -> Iterator[Comparison]:
        """Compare what was sent with what is in each place."""
        yield Comparison("live snapshots in gex_snapshots", f"{live_snapshots:,}", f"{self.rows['live']:,}")
        yield Comparison("messages in universal_webhooks", f"{messages:,}", f"{self.rows['universal_webhooks']:,}")
        yield Comparison("trades in option_trades_events", f"{trades:,}", f"{self.rows['option_trades_events']:,}")
        yield Comparison("records of the file in gex_snapshots", f"{records:,}", f"{self.rows['history']:,}")
        yield Comparison("rows in the snapshots Parquet file", f"{records:,}", f"{self.rows['snapshots_parquet']:,}")
        source = _shown(self.totals["source"])
        yield Comparison("snapshots, strikes, sum of values in DuckDB", source, _shown(self.totals["database"]))
        yield Comparison("snapshots, strikes, sum of values in Parquet", source, _shown(self.totals["parquet"]))
        yield Comparison(
            "live snapshots, strikes, sum of values", _shown(self.totals["sent"]), _shown(self.totals["live"])
        )
        yield Comparison("state of the request", "completed", self.status)


def gather(
    settings: Settings, partition: Partition, source: Path, live: Session, request: dict[str, Any]
) -> Evidence:
    """Read everything back."""
    feed, day = partition.feed, day_bounds_ms(partition.date)
    rows: dict[str, int] = {}
    with lease(settings.database_path, purpose="read the demo's results", read_only=True) as connection:
        rows["universal_webhooks"] = _count(fetch_row(connection, "SELECT count(*) FROM universal_webhooks"))
        rows["option_trades_events"] = _count(fetch_row(connection, "SELECT count(*) FROM option_trades_events"))
        for name in ("live", "history"):
            rows[name] = _count(fetch_row(connection, "SELECT count(*) FROM gex_snapshots WHERE source = ?", [name]))
        database, stored_live = (
            fetch_row(
                connection,
                "SELECT count(DISTINCT timestamp), count(*), sum(gamma + oi_gamma + list_sum(priors)) "
                "FROM gex_strikes WHERE ticker = ? AND endpoint = ? AND timestamp BETWEEN ? AND ?",
                [each.ticker, each.endpoint, *day],
            )
            for each in (feed, live.feed)
        )
    published = pl.scan_parquet(partition.published(settings, "snapshots"))
    rows["snapshots_parquet"] = published.select(pl.len()).collect().item()
    strikes = pl.scan_parquet(partition.published(settings, "strikes"))
    values = pl.col("gamma") + pl.col("oi_gamma") + pl.col("priors").list.sum()
    parquet = strikes.select(pl.col("timestamp").n_unique(), pl.len(), values.sum()).collect()
    totals = {
        "source": _totals(json.loads(source.read_bytes())),
        "database": _rounded(database),
        "parquet": _rounded(parquet.row(0)),
        "sent": _totals(snapshots(live)),
        "live": _rounded(stored_live),
    }
    checks, step_seconds = _what_dagster_says(settings, request["run_id"])
    return Evidence(request["run_id"], request["status"], rows, totals, checks, step_seconds)


def _what_dagster_says(settings: Settings, run_id: str) -> tuple[list[CheckVerdict], dict[str, float]]:
    """Return the verdicts of a run's checks and the seconds of its steps."""
    with dg.DagsterInstance.from_config(str(settings.dagster_home_path)) as instance:
        records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
        evaluations = [
            record.event_log_entry.dagster_event.asset_check_evaluation_data
            for record in records
            if record.event_log_entry.dagster_event
        ]
        checks = [
            CheckVerdict(each.asset_key.to_user_string(), each.check_name, each.passed, each.description or "")
            for each in evaluations
        ]
        steps = {
            f"step {step.step_key}": step.end_time - step.start_time
            for step in instance.get_run_step_stats(run_id)
            if step.start_time and step.end_time
        }
    return checks, dict(sorted(steps.items(), key=lambda step: step[0]))


def _totals(records: Iterable[dict[str, Any]]) -> tuple[int, int, float]:
    """Return snapshots, strikes and the sum of every gamma, open-interest gamma and prior."""
    count = strikes = 0
    total = 0.0
    for record in records:
        count += 1
        strikes += len(record["strikes"])
        total += sum(by_volume + by_oi + sum(priors) for _, by_volume, by_oi, priors in record["strikes"])
    return count, strikes, round(total, 2)


def _rounded(row: tuple[Any, ...] | None) -> tuple[int, int, float]:
    return (int(row[0]), int(row[1]), round(float(row[2]), 2)) if row and row[1] else (0, 0, 0.0)


def _shown(totals: tuple[int, int, float]) -> str:
    return f"{totals[0]:,} / {totals[1]:,} / {totals[2]:,.2f}"


def _count(row: tuple[Any, ...] | None) -> int:
    return int(row[0]) if row else 0
