"""Records that could not be understood: kept as they came, each with the reason."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gex_pipeline.feeds import Feed
from gex_pipeline.storage.files import write_whole


@dataclass(frozen=True)
class BadRecord:
    """One record that was not loaded.

    Attributes:
        position: its index in a history file, or its byte offset in a journal segment.
        reason: why, field by field.
        record: its bytes as they came.
    """

    position: int
    reason: str
    record: bytes


def history_quarantine_path(root: Path, feed: Feed, date: dt.date, sha256: str) -> Path:
    """Return where the bad records of one history file go; another file of the same day has another place."""
    return root / "gexbot" / feed.ticker / feed.endpoint / f"{date:%Y%m%d}-{sha256[:12]}.jsonl"


def live_quarantine_path(root: Path, journal: str, segment: int, offset: int) -> Path:
    """Return where bad records of a journal batch go, of which the first is at this offset."""
    return root / "live" / journal / f"{segment:08d}-{offset:012d}.jsonl"


def write_quarantine(path: Path, records: Sequence[BadRecord]) -> None:
    """Publish bad records as JSON lines `{"position", "reason", "record"}`; bytes that are not UTF-8 are escaped."""
    lines = (
        msgspec.json.encode(
            {
                "position": bad.position,
                "reason": bad.reason,
                "record": bad.record.decode(errors="backslashreplace"),
            }
        )
        for bad in records
    )
    write_whole(path, b"\n".join(lines) + b"\n")
    path.chmod(0o600)  # an announcement that could not be read may hold a signed link
