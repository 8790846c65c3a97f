"""Whether a staged file may go into the database: what is asked before the database is touched."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gex_pipeline.formats.columns import PUBLISHED_SNAPSHOTS_SCHEMA, STRIKES_SCHEMA
from gex_pipeline.history.observed import Day, observe
from gex_pipeline.history.paths import Table
from gex_pipeline.history.staging import read_summary
from gex_pipeline.history.verdicts import Question, Subject, Verdict, clock, markdown
from gex_pipeline.storage.lease import fetch_row, quoted
from gex_pipeline.trading_days import day_bounds_ms

MAX_BAD_SHARE = 0.001
_SCHEMAS: dict[Table, pa.Schema] = {"snapshots": PUBLISHED_SNAPSHOTS_SCHEMA, "strikes": STRIKES_SCHEMA}


def of_day(subject: Subject, question: Question) -> Verdict:
    """Ask a question of the staged day, whose two files are read once for all of them."""
    if not all(schema(subject, table).passed for table in _SCHEMAS):
        return Verdict(False, "cannot be told while the columns are not the declared ones; see schema")
    return question(subject, observe(*(subject.staged(table) for table in _SCHEMAS)))


def schema(subject: Subject, table: Table) -> Verdict:
    """Staged columns have the declared names and types; `vanna` is there when a strike has one."""
    declared = _SCHEMAS[table]
    found = pq.read_schema(subject.staged(table))
    wrong = [str(field) for field in found if field not in declared] + [
        f"missing {field.name}" for field in declared if field.name not in found.names and field.name != "vanna"
    ]
    return Verdict(
        not wrong, "the declared columns" if not wrong else "; ".join(wrong), {"columns": ", ".join(found.names)}
    )


def bad_records(subject: Subject) -> Verdict:
    """At most 0.1 % of the file's records could not be understood."""
    summary = read_summary(subject.staged("snapshots"))
    share = summary.bad / summary.records if summary.records else 0.0
    reason = f"; most often {summary.commonest} ({summary.commonest_records:,}); see {summary.quarantine}"
    return Verdict(
        share <= MAX_BAD_SHARE,
        f"{summary.bad:,} of {summary.records:,} records are bad ({share:.2%}, at most {MAX_BAD_SHARE:.1%} may be)"
        f"{reason if summary.bad else ''}",
        {
            "bad_records": summary.bad,
            "records": summary.records,
            "bad_share": share,
            **({"examples": list(summary.examples), "quarantine": summary.quarantine} if summary.bad else {}),
        },
    )


def not_empty(subject: Subject) -> Verdict:
    """At least one snapshot was staged."""
    rows = pq.read_metadata(subject.staged("snapshots")).num_rows
    return Verdict(rows > 0, f"{rows:,} snapshots", {"snapshots": rows})


def timestamps(subject: Subject) -> Verdict:
    """Timestamps strictly increase and lie on the trading day, New York time."""
    first_ms, last_ms = day_bounds_ms(subject.partition.date)
    row = fetch_row(
        subject.connection,
        f"""SELECT count(*) FILTER (timestamp <= previous), count(*) FILTER (timestamp NOT BETWEEN ? AND ?),
        min(timestamp), max(timestamp)
        FROM (SELECT timestamp, lag(timestamp) OVER (ORDER BY file_row_number) AS previous
              FROM read_parquet('{quoted(subject.staged("snapshots"))}', file_row_number = true))""",
        [first_ms, last_ms],
    )
    not_increasing, outside, earliest, latest = row or (0, 0, None, None)
    span = f"{clock(earliest)} to {clock(latest)}"
    return Verdict(
        not not_increasing and not outside,
        f"{span} New York; {not_increasing:,} not increasing, {outside:,} on another day",
        {"first": clock(earliest), "last": clock(latest), "not_increasing": not_increasing, "outside_day": outside},
    )


def duplicates(subject: Subject) -> Verdict:
    """Records that repeat a timestamp say the same as the first one."""
    summary = read_summary(subject.staged("snapshots"))
    return Verdict(
        not summary.duplicates_differing,
        f"{summary.duplicates:,} of {summary.records:,} records repeat a timestamp, {summary.duplicates_differing:,} "
        "of them with other values; the first one is kept",
        {"duplicates": summary.duplicates, "duplicates_differing": summary.duplicates_differing},
    )


def prices(_subject: Subject, day: Day) -> Verdict:
    """At most 0.1 % of the snapshots have a spot or a strike that is zero or negative."""
    is_bad = pc.or_kleene(pc.less_equal(day.rows["spot_price"], 0), pc.less_equal(day.rows["lowest"], 0))
    bad = day.rows.filter(is_bad)
    share = bad.num_rows / len(day.times) if len(day.times) else 0.0
    examples = bad.select(["timestamp", "spot_price", "lowest"]).slice(0, 5).to_pylist()
    return Verdict(
        share <= MAX_BAD_SHARE,
        f"{bad.num_rows:,} of {len(day.times):,} snapshots have a spot or a strike that is zero or negative "
        f"(at most {MAX_BAD_SHARE:.1%} may)",
        {"bad_snapshots": bad.num_rows, "snapshots": len(day.times), "bad_share": share},
        markdown(
            ("time", "spot", "lowest strike"), [(clock(time), *rest) for time, *rest in map(dict.values, examples)]
        ),
    )


def strikes_belong(subject: Subject, day: Day) -> Verdict:
    """Every staged strike has its staged snapshot, and there are as many as staging counted."""
    summary = read_summary(subject.staged("strikes"))
    return Verdict(
        day.orphans == 0 and day.strikes == summary.strikes,
        f"{day.strikes:,} strikes, {day.orphans:,} without their snapshot",
        {"strikes": day.strikes, "counted_by_staging": summary.strikes, "without_snapshot": day.orphans},
    )


def ladders(_subject: Subject, day: Day) -> Verdict:
    """Strikes ascend in each ladder, and each comes once."""
    repeated, descending = len(day.repeated), len(day.descending)
    wrong = np.unique(np.concatenate((day.repeated, day.descending)))[:5]
    return Verdict(
        not repeated and not descending,
        f"{repeated:,} strikes come twice, {descending:,} are lower than the one before",
        {"repeated_strikes": repeated, "descending_strikes": descending},
        markdown(("time",), [(clock(int(time)),) for time in wrong]),
    )
