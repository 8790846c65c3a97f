"""Days of one feed, imported step by step as Dagster and `gex import` do, and what their checks found."""

import copy
import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gex_pipeline.demo.sessions import Session, snapshots
from gex_pipeline.feeds import Feed
from gex_pipeline.history.day import export_tables, import_rows
from gex_pipeline.history.judging import PUBLISHED, STAGED, STORED, Check, judge, refusals
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.verdicts import Verdict
from gex_pipeline.settings import Settings
from gex_pipeline.trading_days import is_trading_day, session_bounds_ms
from gex_pipeline_tests.records import capture_live, stage_records

FEED = Feed("SPX", "gex_zero")
STRIKES, STEP_SECONDS = 12, 60.0

Row = dict[str, Any]
Records = list[Row]
Judged = dict[str, tuple[Check, Verdict]]


@dataclass
class Found:
    """What the checks of a day found, by `asset.check`.

    Attributes:
        is_refused: a blocking check failed, and nothing was imported.
    """

    judged: Judged
    is_refused: bool = False

    @property
    def failed(self) -> set[str]:
        """The checks that failed."""
        return {name for name, (_, verdict) in self.judged.items() if not verdict.passed}

    def said(self, name: str) -> str:
        """What a check found."""
        return self.judged[name][1].description


def trading_days(first: dt.date, count: int) -> list[dt.date]:
    days = (first + dt.timedelta(days=day) for day in range(2 * count + 10))
    return [day for day in days if is_trading_day(day)][:count]


def records_of(date: dt.date, **session: Any) -> Records:
    """Return a whole session from its first tick to its last, one snapshot a minute unless told otherwise."""
    opened, closed = session_bounds_ms(date)
    step = session.setdefault("cadence_seconds", STEP_SECONDS)
    count = int((closed - opened) / 1000 / step)
    defaults: dict[str, Any] = {
        "strikes": STRIKES,
        "first_at": dt.time(9, 30, 2),
        "half_day": closed - opened < 6 * 3_600_000,
    }
    whole = Session(feed=FEED, date=date, snapshots=count, **(defaults | session))
    return copy.deepcopy(list(snapshots(whole)))


Step = Callable[[Settings, Partition], None]


def nothing(_settings: Settings, _partition: Partition) -> None:
    """Leave things as they are."""


def import_day(
    settings: Settings,
    date: dt.date,
    records: Records,
    *,
    live: Records = [],  # noqa: B006 - only read
    after: dict[str, Step] | None = None,
) -> Found:
    """Take all steps for a day, with something done after one of them, and return what all checks found."""
    partition, after = Partition(FEED, date), after or {}
    if live:
        capture_live(settings, *({"endpoint": FEED.endpoint} | record for record in live))
    stage_records(settings, *records, partition=partition)
    after.get("staged", nothing)(settings, partition)
    found = Found(dict(_judge(STAGED, settings, partition)))
    if refusals(STAGED, [found.judged[f"{check.asset}.{check.name}"][1] for check in STAGED]):
        return Found(found.judged, is_refused=True)
    import_rows(settings, partition, "run")
    after.get("imported", nothing)(settings, partition)
    found.judged |= _judge(STORED, settings, partition)
    list(export_tables(settings, partition))
    after.get("exported", nothing)(settings, partition)
    found.judged |= _judge(PUBLISHED, settings, partition)
    return found


def _judge(
    checks: tuple[Check, ...], settings: Settings, partition: Partition
) -> Iterator[tuple[str, tuple[Check, Verdict]]]:
    for check, verdict in zip(checks, judge(checks, settings, partition), strict=True):
        yield f"{check.asset}.{check.name}", (check, verdict)


def as_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
