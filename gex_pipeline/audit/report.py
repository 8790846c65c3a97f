"""What an audit found, written down: Markdown for people, Parquet for queries."""

import datetime as dt
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gex_pipeline.audit.states import STATES
from gex_pipeline.audit.verifying import VerifiedDay
from gex_pipeline.history.verdicts import markdown
from gex_pipeline.settings import Settings
from gex_pipeline.storage.files import publish, write_whole

# About two years of weekly audits.
KEPT_REPORTS = 100
REPORT_SCHEMA = pa.schema(
    [
        ("feed", pa.string()),
        ("date", pa.date32()),
        ("state", pa.string()),
        ("detail", pa.string()),
        ("snapshots", pa.int64()),
        ("parquet_snapshots", pa.int64()),
        ("parquet_strikes", pa.int64()),
        ("first", pa.int64()),
        ("last", pa.int64()),
        ("longest_gap_ms", pa.int64()),
        ("sources", pa.list_(pa.string())),
        ("last_import", pa.string()),
        ("differing", pa.int64()),
        ("checks_run", pa.int64()),
        ("checks_failed", pa.list_(pa.string())),
        ("checks_warned", pa.list_(pa.string())),
        ("spots_compared", pa.int64()),
        ("spot_differences", pa.list_(pa.string())),
        ("error", pa.string()),
    ]
)


def write_report(settings: Settings, verified: Sequence[VerifiedDay], problem: str, now: dt.datetime) -> Path:
    """Write both files of a report, each of which appears whole, and return the path of the Markdown.

    Args:
        settings: where reports go.
        verified: the days, by feed and date.
        problem: why the database could not be looked into; empty when it could.
        now: UTC; it names the files.
    """
    path = settings.reports_dir / f"audit-{now:%Y%m%dT%H%M%SZ}.md"
    with publish(path.with_suffix(".parquet")) as beside:
        pq.write_table(pa.Table.from_pylist(list(map(_row, verified)), schema=REPORT_SCHEMA), beside)
    text = f"# Audit of {now:%Y-%m-%d %H:%M} UTC\n\n{summary(verified, problem)}\n\n{by_feed(verified)}\n"
    if wrong := not_well(verified):
        text += f"\n## What to look at\n\n{wrong}\n"
    if warned := _warnings(verified):
        text += f"\n## Unusual\n\n{warned}\n"
    write_whole(path, text.encode())
    return path


def delete_old_reports(settings: Settings) -> int:
    """Delete all but the last KEPT_REPORTS reports, both files of each; return how many went."""
    named = re.compile(r"audit-\d{8}T\d{6}Z\.(md|parquet)")
    paths = [path for path in settings.reports_dir.glob("audit-*") if named.fullmatch(path.name)]
    old = sorted({path.stem for path in paths})[:-KEPT_REPORTS]
    for path in paths:
        if path.stem in old:
            path.unlink()
    return len(old)


def summary(verified: Sequence[VerifiedDay], problem: str) -> str:
    """Return in a line what was found."""
    wrong = sum(not each.is_well for each in verified)
    compared = sum(each.spots.compared for each in verified if each.spots)
    run = sum(len(each.judged) for each in verified)
    work = f"{run:,} checks, {compared:,} snapshots compared with raw files"
    told = f"{len(verified):,} days, {wrong:,} to look at; {work}"
    return f"{told}. The database could not be looked into: {problem}" if problem else told


def counts_by_feed(verified: Sequence[VerifiedDay]) -> dict[str, Counter[str]]:
    """Count the days of each feed by their states, and as `failed` and `warned` those with such checks."""
    counts: dict[str, Counter[str]] = {}
    for each in verified:
        counter = counts.setdefault(each.day.partition.feed.key, Counter())
        counter[each.day.state] += 1
        counter["failed"] += bool(each.failed or each.differences or each.error)
        counter["warned"] += bool(each.warned)
    return counts


def by_feed(verified: Sequence[VerifiedDay]) -> str:
    """Return the counts of each feed as a Markdown table."""
    columns = (*STATES, "failed", "warned")
    counts = counts_by_feed(verified).items()
    titles = ("feed", *(name.replace("_", " ") for name in columns))
    return markdown(titles, [(feed, *(counter[name] or "" for name in columns)) for feed, counter in counts])


@dataclass(frozen=True)
class Stretch:
    """Consecutive trading days of one feed that are to be looked at for one reason, or one such day."""

    days: Sequence[VerifiedDay]

    @property
    def dates(self) -> str:
        """From when to when it is, and how many days it has."""
        first, last = (self.days[at].day.partition.date for at in (0, -1))
        return f"{first} to {last} ({len(self.days):,} days)" if len(self.days) > 1 else f"{first}"


def stretches(verified: Sequence[VerifiedDay]) -> list[Stretch]:
    """Return the days that a person should look at: first those with findings of their own, one by one.

    Args:
        verified: by feed and date, with every trading day between a feed's first and its last.
    """

    def key(each: VerifiedDay) -> tuple[object, ...]:
        partition = each.day.partition
        own = partition.date if _has_findings(each) else None
        return partition.feed, each.day.state, each.is_well, each.error, own

    found = [Stretch(list(days)) for _, days in groupby(verified, key)]
    wrong = [each for each in found if not each.days[0].is_well]
    return sorted(wrong, key=lambda each: not _has_findings(each.days[0]))


def _has_findings(each: VerifiedDay) -> bool:
    """Tell whether something is wrong with what there is of a day, or with the file that was tried for it."""
    imported = each.day.figures.imported
    is_refused = imported is not None and imported.outcome == "refused"
    return bool(each.day.state in {"partial", "conflicting"} or each.failed or each.differences or is_refused)


def not_well(verified: Sequence[VerifiedDay], most: int | None = None) -> str:
    """Return the days that a person should look at as a Markdown table of so many rows at most; empty without any."""
    wrong = stretches(verified)
    rows = [
        (each.days[0].day.partition.feed.key, each.dates, each.days[0].day.state, _in_cell(reasons(each.days[0])))
        for each in wrong[:most]
    ]
    left = sum(len(each.days) for each in wrong[len(rows) :])
    more = f"\n\n{left:,} more days are in the report." if left else ""
    return f"{markdown(('feed', 'day', 'state', 'why'), rows)}{more}"


def reasons(each: VerifiedDay) -> str:
    """Say in a line why a day is to be looked at."""
    told = [each.error and f"not checked: {each.error}", each.day.detail]
    if len(each.differences) > 1:
        told.append(f"{len(each.differences):,} values differ from the raw file")
    return "; ".join(filter(None, told))


def _warnings(verified: Sequence[VerifiedDay]) -> str:
    rows = []
    for each in verified:
        of = each.day.partition.feed.key, each.day.partition.date
        rows += [(*of, f"{check.asset}.{check.name}", _in_cell(found.description)) for check, found in each.warned]
    return markdown(("feed", "day", "check", "found"), rows)


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _row(each: VerifiedDay) -> dict[str, object]:
    figures = each.day.figures
    first_ms, last_ms = figures.bounds_ms
    stored, published, imported = figures.stored, figures.published, figures.imported
    return {
        "feed": each.day.partition.feed.key,
        "date": each.day.partition.date,
        "state": each.day.state,
        "detail": each.day.detail,
        "snapshots": stored.snapshots if stored else None,
        "parquet_snapshots": published.snapshots if published else None,
        "parquet_strikes": published.strikes if published else None,
        "first": first_ms,
        "last": last_ms,
        "longest_gap_ms": stored.longest_gap_ms if stored else None,
        "sources": stored.sources if stored else (),
        "last_import": imported.outcome if imported else None,
        "differing": imported.differing if imported else None,
        "checks_run": len(each.judged),
        "checks_failed": [f"{check.asset}.{check.name}" for check, _ in each.failed],
        "checks_warned": [f"{check.asset}.{check.name}" for check, _ in each.warned],
        "spots_compared": each.spots.compared if each.spots else 0,
        "spot_differences": each.differences,
        "error": each.error or None,
    }
