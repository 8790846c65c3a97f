"""Per-client limits on the capture routes, off unless set."""

from fastapi import HTTPException, Request
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from gex_pipeline.errors import FieldProblem
from gex_pipeline.settings import Settings
from webhook_gateway.bodies import problem


class RateLimits:
    """Counts requests by route and client address, in this process."""

    def __init__(self, settings: Settings) -> None:
        """Read the limits, such as `100/minute`; a route without one is not counted."""
        configured = {
            "/gex": settings.rate_limit_gex,
            "/gex_history_url": settings.rate_limit_history,
            "/uw": settings.rate_limit_webhook,
        }
        self._limits = {path: parse(limit) for path, limit in configured.items() if limit is not None}
        self._counter = MovingWindowRateLimiter(MemoryStorage())

    def check(self, request: Request) -> None:
        """Count a request.

        Raises:
            HTTPException: 429 with Retry-After when its client has had its share.
        """
        path = request.scope["path"]
        limit = self._limits.get(path)
        if limit is None:
            return
        client = request.client.host if request.client else ""
        if not self._counter.hit(limit, path, client):
            raise _too_many(limit.get_expiry(), str(limit))


def _too_many(window_seconds: int, limit: str) -> HTTPException:
    wanted = FieldProblem("", "one request too many", f"at most {limit}")
    return problem(429, wanted, headers={"Retry-After": str(window_seconds)})
