"""Live captures of any day, loaded as the gateway and its loader would."""

import datetime as dt
import json
from pathlib import Path

from gex_pipeline.history.paths import Partition
from gex_pipeline.journal import encode_record, list_segments, name_journal, segment_path
from gex_pipeline.loader.loading import Loader
from gex_pipeline.settings import Settings
from gex_pipeline.trading_days import NEW_YORK

STRIKES = [[6730, -228.01, 0.3, [1, 2, 3, 4, 5]], [6735.25, 1, 2, []]]


def at(text: str) -> dt.datetime:
    """Return a moment in New York."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def capture(settings: Settings, *captures: str) -> None:
    """Capture and load snapshots, each written as `SPX:gex_zero 2025-11-14 10:00:00` (New York)."""
    journal = settings.journal_dir
    journal.mkdir(parents=True, exist_ok=True)
    name_journal(journal)
    lines = []
    for each in captures:
        feed, _, moment = each.partition(" ")
        ticker, _, endpoint = feed.partition(":")
        seconds = int(at(moment).timestamp())
        body = {"timestamp": seconds, "ticker": ticker, "endpoint": endpoint, "spot": 6734.5, "strikes": STRIKES}
        lines.append(encode_record("gex", seconds * 1000, json.dumps(body).encode()))
    segment_path(journal, max(list_segments(journal), default=0) + 1).write_bytes(b"".join(lines))
    loader = Loader(settings)
    while loader.load_next():
        pass


def published(settings: Settings, key: str) -> tuple[Path, Path]:
    """Return where the snapshots and the strikes of a partition are published."""
    partition = Partition.parse(key)
    return partition.published(settings, "snapshots"), partition.published(settings, "strikes")
