"""What the routes share: the settings, the journal, the loader process, the requests taken since the start."""

from dataclasses import dataclass, field
from typing import Any, cast

from fastapi import Request

from gex_pipeline.settings import Settings
from webhook_gateway.journal_writer import JournalWriter
from webhook_gateway.latest import LatestSnapshots
from webhook_gateway.loader_process import LoaderProcess
from webhook_gateway.rate_limits import RateLimits


@dataclass
class Gateway:
    """One running gateway.

    Attributes:
        latest: the newest snapshot of each feed.
        accepted: history requests by id as they were answered, for the moment until the loader has stored them.
    """

    settings: Settings
    journal: JournalWriter
    loader: LoaderProcess
    rate_limits: RateLimits
    latest: LatestSnapshots = field(default_factory=LatestSnapshots)
    accepted: dict[int, dict[str, Any]] = field(default_factory=dict)


def gateway_of(request: Request) -> Gateway:
    """Return the gateway a request came to."""
    return cast("Gateway", request.app.state.gateway)
