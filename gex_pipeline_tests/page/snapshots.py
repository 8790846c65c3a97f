"""What the recorder of these tests was sent."""

import datetime as dt
from typing import Any

from gex_pipeline.demo.sessions import Session, snapshots
from gex_pipeline.feeds import Feed
from gex_pipeline_tests.gateway_requests import post
from gex_pipeline_tests.processes import GatewayProcess

DAY = dt.date(2025, 11, 14)
SPX = Session(feed=Feed("SPX", "gex_zero"), date=DAY, snapshots=90, strikes=60, seed=1)
NQ = Session(feed=Feed("NQ_NDX", "gex_full"), date=DAY, snapshots=30, strikes=80, seed=2)
SPX_DAY = list(snapshots(SPX))


def post_session(gateway: GatewayProcess, **headers: str) -> None:
    for session in (SPX, NQ):
        for snapshot in snapshots(session):
            sent = snapshot | {"endpoint": session.feed.endpoint}
            assert post(gateway, "/gex", sent, **headers).status_code == 202


def post_one(gateway: GatewayProcess, ticker: str, second: int, **changes: Any) -> None:
    """Post what SPX sent last as another ticker's snapshot, so many seconds later, with these changes."""
    last = SPX_DAY[-1]
    moved = {"ticker": ticker, "timestamp": int(str(last["timestamp"])) + second}
    assert post(gateway, "/gex", last | moved | changes).status_code == 202
