"""The picture of a published day."""

import numpy as np

from gex_pipeline.history.observed import Day, observe
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.session_verdicts import gap_limit_ms
from gex_pipeline.pictures.day_chart import Session, day_chart
from gex_pipeline.pictures.markdown import drawn
from gex_pipeline.settings import Settings
from gex_pipeline.trading_days import session_bounds_ms


def picture_of_day(settings: Settings, partition: Partition) -> str:
    """Return a published day as an image in Markdown; empty when there is nothing to show.

    The two files are read here for the checks that follow in this process as well.
    """

    def draw() -> str:
        snapshots, strikes = (partition.published(settings, table) for table in ("snapshots", "strikes"))
        return day_chart(_session(partition, observe(snapshots, strikes)))

    return drawn(draw, f"{partition.feed.key} on {partition.date}")


def _session(partition: Partition, day: Day) -> Session:
    opened, closed = session_bounds_ms(partition.date)
    spot, zero_gamma = (
        day.rows[name].to_numpy().astype(np.float64, copy=False) for name in ("spot_price", "zero_gamma")
    )
    title = f"{partition.feed.ticker} {partition.feed.endpoint} {partition.date}"
    return Session(title, opened, closed, day.times, spot, zero_gamma, day.ladders, gap_limit_ms(day.usual_step_ms))
