"""What was captured live beside what the history file of the same day says."""

import numpy as np
import pyarrow.parquet as pq

from gex_pipeline.history.observed import Times
from gex_pipeline.history.session_verdicts import gap_limit_ms
from gex_pipeline.history.staging import read_summary
from gex_pipeline.history.verdicts import Subject, Verdict, clock, markdown
from gex_pipeline.storage.conflicts import conflicts_path
from gex_pipeline.storage.lineage import find_import
from gex_pipeline.storage.snapshots import day_rows_sql
from gex_pipeline.trading_days import day_bounds_ms

# Of what was captured live, so much may be missing from the file.
MOST_UNKNOWN = 0.01


def live_agrees(subject: Subject) -> Verdict:
    """Where both were recording, the file has what was captured live, value for value, and live had no outage."""
    partition, connection = subject.partition, subject.connection
    summary = read_summary(subject.staged("snapshots"))
    rows = day_rows_sql(
        connection, "gex_snapshots", ("timestamp", "source"), partition.feed, *day_bounds_ms(partition.date)
    )
    captured = f"SELECT timestamp FROM ({rows}) WHERE source IN ('live', 'uw') ORDER BY timestamp"
    live: Times = connection.execute(captured).fetchnumpy()["timestamp"]
    if not len(live):
        return Verdict(True, "nothing of this day was captured live before the file came", {"live": 0})
    file = np.sort(pq.read_table(subject.staged("snapshots"), columns=["timestamp"])["timestamp"].to_numpy())
    first, last = max(live[0], file[0]), min(live[-1], file[-1])
    common = live[(live >= first) & (live <= last)]
    offered = file[(file >= first) & (file <= last)]
    unknown = np.setdiff1d(common, offered)
    not_captured = len(np.setdiff1d(offered, common))
    outages = _outages(common, offered)
    earlier = find_import(connection, partition.feed, partition.date, summary.sha256)
    differing = earlier.differing if earlier else 0
    report = conflicts_path(subject.settings.conflicts_dir, partition.feed, partition.date, summary.sha256)
    return Verdict(
        not differing and len(unknown) <= MOST_UNKNOWN * len(common) and not outages,
        f"{len(common):,} captured live and {len(offered):,} in the file between {clock(int(first))} and "
        f"{clock(int(last))}; {differing:,} stored ones differ, {len(unknown):,} are not in the file, "
        f"{not_captured:,} were not captured, {len(outages):,} outages",
        {
            "live": len(live),
            "differing": differing,
            "not_in_file": len(unknown),
            "not_captured": not_captured,
            "outages": len(outages),
            **({"conflicts": str(report)} if differing and report.exists() else {}),
        },
        "\n\n".join(
            table
            for table in (
                markdown(("nothing live after", "seconds"), outages[:5]),
                markdown(("live, not in the file",), [(clock(int(time)),) for time in unknown[:5]]),
            )
            if table
        ),
    )


def _outages(live: Times, file: Times) -> list[tuple[str, float]]:
    """Return when live capture stopped for longer than is usual while the file goes on, and for how many seconds."""
    steps = np.diff(live)
    usual = float(np.median(steps)) if len(steps) else 0.0
    long = np.flatnonzero(steps > gap_limit_ms(usual))
    meanwhile = [np.searchsorted(file, live[at + 1]) - np.searchsorted(file, live[at], "right") for at in long]
    return [
        (clock(int(live[at])), float(steps[at]) / 1000)
        for at, between in zip(long, meanwhile, strict=True)
        if between
    ]
