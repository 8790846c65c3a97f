"""A slow reading of history files that is obviously right."""

from dataclasses import dataclass, field
from typing import Any

from gex_pipeline.audit.plain_reading import BadRecordError, read_record
from gex_pipeline.feeds import Feed

SPX = Feed("SPX", "gex_zero")


@dataclass
class Reading:
    """What a file holds.

    Attributes:
        snapshots: rows of the table, with `max_priors`, `max_change` and `extra` read as JSON.
        strikes: rows of the table.
        bad: position, name of the field and text of each bad record.
        first: text of the first record of each time, epoch milliseconds.
    """

    snapshots: list[dict[str, Any]] = field(default_factory=list)
    strikes: list[dict[str, Any]] = field(default_factory=list)
    bad: list[tuple[int, str, str]] = field(default_factory=list)
    first: dict[int, str] = field(default_factory=dict)
    duplicates: int = 0
    differing: int = 0


def reference_rows(records: list[str]) -> Reading:
    """Read the records of a file with nothing but Python's json."""
    reading = Reading()
    for position, text in enumerate(records):
        try:
            snapshot, strikes = read_record(text, SPX)
        except BadRecordError as bad:
            reading.bad.append((position, bad.name, text))
            continue
        moment = snapshot["timestamp"]
        if moment in reading.first:
            reading.duplicates += 1
            reading.differing += reading.first[moment] != text
            continue
        reading.first[moment] = text
        reading.snapshots.append(snapshot)
        key = {name: snapshot[name] for name in ("timestamp", "ticker", "endpoint")}
        reading.strikes += [key | strike for strike in strikes]
    return reading
