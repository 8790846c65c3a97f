"""Where the files of one partition are."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gex_pipeline.feeds import Feed, is_feed
from gex_pipeline.settings import Settings

Table = Literal["snapshots", "strikes"]


@dataclass(frozen=True)
class Partition:
    """One feed on one trading day."""

    feed: Feed
    date: dt.date

    @property
    def key(self) -> str:
        """The Dagster partition key, `2025-11-14|NQ_NDX:gex_zero`."""
        return f"{self.date.isoformat()}|{self.feed.key}"

    @classmethod
    def parse(cls, key: str) -> "Partition":
        """Read a Dagster partition key."""
        date, _, feed = key.partition("|")
        return cls(Feed.parse(feed), dt.date.fromisoformat(date))

    def source(self, settings: Settings) -> Path:
        """The downloaded history file without its ending: `.json`, or `.json.gz` when it is gzip."""
        name = f"{self.date:%Y%m%d}_{self.feed.ticker}_{self.feed.endpoint}_history"
        return settings.source_dir / self.feed.ticker / self.feed.endpoint / name

    def absence(self, settings: Settings) -> Path:
        """Where it is noted that GexBot has no file of the day."""
        return self.source(settings).with_suffix(".absent")

    def staged(self, settings: Settings, table: Table) -> Path:
        """The parsed rows that wait for their checks."""
        return self._parquet(settings.staging_path, table)

    def published(self, settings: Settings, table: Table) -> Path:
        """The Parquet file that readers use."""
        return self._parquet(settings.parquet_path, table)

    def _parquet(self, root: Path, table: Table) -> Path:
        return root / "gexbot" / self.feed.ticker / self.feed.endpoint / f"{self.date:%Y%m%d}.{table}.parquet"


def partitions_below(folder: Path, pattern: str) -> Iterator[Partition]:
    """Yield the partition of each file `<ticker>/<endpoint>/<YYYYMMDD>...` below a folder; others are passed over."""
    for path in folder.glob(f"*/*/[0-9]{pattern}"):
        ticker, endpoint = path.parent.parent.name, path.parent.name
        try:
            date = dt.datetime.strptime(path.name[:8], "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
        if is_feed(ticker, endpoint):
            yield Partition(Feed(ticker, endpoint), date)
