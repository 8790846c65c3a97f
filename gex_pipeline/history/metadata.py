"""What the Dagster UI shows of each materialization: how much, when, how long, and of which file."""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from gex_pipeline.history.day import Staged
from gex_pipeline.history.download import SourceFile
from gex_pipeline.history.exporting import Exported
from gex_pipeline.history.importing import ImportResult
from gex_pipeline.history.judging import Check
from gex_pipeline.history.paths import Table
from gex_pipeline.history.verdicts import Verdict
from gex_pipeline.storage.conflicts import summarise_conflicts
from gex_pipeline.trading_days import new_york_time

Metadata = Mapping[str, dg.MetadataValue | str | int | float]


def describe_file(file: SourceFile, origin: str, seconds: float | None = None) -> Metadata:
    """Describe `history_file`."""
    return {
        "origin": origin,
        "path": dg.MetadataValue.path(str(file.path)),
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        **_seconds(seconds),
    }


def describe_staged(staged: Staged) -> dict[str, Metadata]:
    """Describe `staged_snapshots` and `staged_strikes`."""
    summary = staged.summary
    shared: Metadata = {
        "seconds": round(staged.seconds, 3),
        "first": _shown(summary.first_ms),
        "last": _shown(summary.last_ms),
    }
    return {
        "staged_snapshots": {
            "dagster/partition_row_count": summary.snapshots,
            "records_in_file": summary.records,
            "bad_records": summary.bad,
            "duplicates": summary.duplicates,
            "duplicates_differing": summary.duplicates_differing,
            "sha256": summary.sha256,
            **shared,
        },
        "staged_strikes": {"dagster/partition_row_count": summary.strikes, **shared},
    }


def describe_imported(result: ImportResult) -> dict[str, Metadata]:
    """Describe `gex_snapshots` and `gex_strikes`."""
    counts, summary = result.counts, result.summary
    shared: Metadata = {
        "outcome": say_imported(result),
        "import_id": result.import_id,
        "sha256": summary.sha256,
        "first": _shown(summary.first_ms),
        "last": _shown(summary.last_ms),
        "lease_seconds": round(result.lease_seconds, 3),
    }
    return {
        "gex_snapshots": {
            "rows_inserted": counts.snapshots,
            "rows_present": counts.present,
            "rows_differing": counts.differing,
            **_conflicts(result.conflicts),
            **_replaced(result),
            **shared,
        },
        "gex_strikes": {"rows_inserted": counts.strikes, **shared},
    }


def say_imported(result: ImportResult) -> str:
    """Say in a few words what an import did."""
    if result.unchanged_since is not None:
        return f"unchanged: these bytes are import {result.unchanged_since} already"
    counts = result.counts
    outcome = f"imported {counts.snapshots:,} snapshots and {counts.strikes:,} strikes"
    return f"{outcome}, {counts.replaced:,} snapshots instead of stored ones" if counts.replaced else outcome


def describe_exported(table: Table, exported: Exported, seconds: float | None = None) -> tuple[str, Metadata]:
    """Describe `snapshots_parquet` or `strikes_parquet`: its name and its metadata."""
    outcome = "written"
    if exported.is_unchanged:
        outcome = "unchanged"
    elif exported.kept_aside:
        outcome = f"replaced; the old file is {exported.kept_aside}"
    return f"{table}_parquet", {
        **_picture(exported.picture),
        "dagster/partition_row_count": exported.rows,
        "outcome": outcome,
        "path": dg.MetadataValue.path(str(exported.path)),
        "size_bytes": exported.size_bytes,
        "sha256": exported.sha256,
        **_seconds(seconds),
    }


def describe_verdict(verdict: Verdict) -> Metadata:
    """Describe what a check found, with where to look."""
    where: Metadata = {"where": dg.MetadataValue.md(verdict.examples)} if verdict.examples else {}
    return {**verdict.metadata, **_picture(verdict.picture), **where}


def severity(check: Check) -> dg.AssetCheckSeverity:
    """Return how Dagster shows a check that failed."""
    return dg.AssetCheckSeverity.WARN if check.is_warning else dg.AssetCheckSeverity.ERROR


def _picture(image: str) -> Metadata:
    return {"picture": dg.MetadataValue.md(image)} if image else {}


def _seconds(seconds: float | None) -> Metadata:
    return {} if seconds is None else {"seconds": round(seconds, 3)}


def _replaced(result: ImportResult) -> Metadata:
    """Say where the rows are that were replaced; nothing when none were."""
    if not result.replaced_rows:
        return {}
    snapshots, strikes = (dg.MetadataValue.path(str(path)) for path in result.replaced_rows)
    return {
        "rows_replaced": result.counts.replaced,
        "replaced_snapshots": snapshots,
        "replaced_strikes": strikes,
    }


def _conflicts(report: Path | None) -> Metadata:
    """Say what a report of differing observations says; nothing without a report."""
    if report is None:
        return {}
    fields, examples = summarise_conflicts(report)
    return {
        "fields_differing": fields,
        "conflicts": dg.MetadataValue.path(str(report)),
        "examples": dg.MetadataValue.json(examples),
    }


def _shown(timestamp_ms: int | None) -> str:
    """Return a moment in New York time with its offset; empty for none."""
    return new_york_time(timestamp_ms).isoformat() if timestamp_ms is not None else ""
