"""What the routes share: the settings, the journal, the children, the requests taken since the start."""

from dataclasses import dataclass, field
from typing import Any, cast

from fastapi import Request

from gex_pipeline.settings import Settings
from webhook_gateway.child_process import ChildProcess
from webhook_gateway.coverage import KnownCoverage
from webhook_gateway.figures import Figures
from webhook_gateway.journal_writer import JournalWriter
from webhook_gateway.latest import LatestSnapshots
from webhook_gateway.queries import Queries
from webhook_gateway.rate_limits import RateLimits
from webhook_gateway.session_times import SessionTimes
from webhook_gateway.streams import Streams


@dataclass
class Gateway:
    """One running gateway.

    Attributes:
        poller: asks GexBot; None when no feed is polled.
        queries: reads what was recorded, in threads.
        streams: who is sent new snapshots as they come.
        coverage: which days are stored, as it was found last.
        session_times: when the exchange opens and closes.
        latest: the newest snapshot of each feed.
        accepted: history requests by id as they were answered, for the moment until the loader has stored them.
        figures: what was last known of the database, for whoever must not wait for it.
    """

    settings: Settings
    journal: JournalWriter
    loader: ChildProcess
    poller: ChildProcess | None
    rate_limits: RateLimits
    queries: Queries
    streams: Streams
    coverage: KnownCoverage
    session_times: SessionTimes
    latest: LatestSnapshots = field(default_factory=LatestSnapshots)
    accepted: dict[int, dict[str, Any]] = field(default_factory=dict)
    figures: Figures = field(default_factory=Figures)


def gateway_of(request: Request) -> Gateway:
    """Return the gateway a request came to."""
    return cast("Gateway", request.app.state.gateway)
