"""Where the files of one partition are."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gex_pipeline.feeds import Feed
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
