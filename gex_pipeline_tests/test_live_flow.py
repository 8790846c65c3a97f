"""The demo's session that goes on."""

import datetime as dt

from gex_pipeline.demo.live_flow import post_on, what_follows
from gex_pipeline.demo.sessions import Session, snapshots
from gex_pipeline.feeds import Feed
from gex_pipeline_tests.gateway_requests import get
from gex_pipeline_tests.processes import GatewayProcess

# The close comes three snapshots after the end of the one and two after that of the other.
ALMOST = Session(
    feed=Feed("FLOW", "gex_zero"), date=dt.date(2025, 11, 14), first_at=dt.time(15, 59, 50), snapshots=8, strikes=4
)
BESIDE = Session(
    feed=Feed("FLOW", "gex_full"), date=dt.date(2025, 11, 14), first_at=dt.time(15, 59, 51), snapshots=8, strikes=4
)


def test_what_follows_goes_on_where_the_session_ended() -> None:
    last = list(snapshots(ALMOST))[-1]
    following = list(what_follows(ALMOST))
    timestamps = [int(str(each["timestamp"])) for each in (last, *following)]
    assert [later - timestamps[0] for later in timestamps] == [0, 1, 2, 3]
    assert abs(float(str(following[0]["spot"])) - float(str(last["spot"]))) < 1


def test_feeds_are_posted_in_step_until_one_closes(gateway: GatewayProcess) -> None:
    post_on(gateway.url, [ALMOST, BESIDE], pause_seconds=0.01)
    newest = {each["endpoint"]: each["timestamp"] // 1000 for each in get(gateway, "/gex/latest?ticker=FLOW").json()}
    last = {session.feed.endpoint: list(what_follows(session))[1]["timestamp"] for session in (ALMOST, BESIDE)}
    assert newest == last
