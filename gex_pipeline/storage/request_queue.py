"""The queue of announced history files, `gex_history_queue`: one row for each ticker, endpoint and trading day.

A row goes pending -> started -> completed or failed; announcing the file again makes it pending anew, and an import
of the day by other means makes a failed one completed.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from gex_pipeline.clock import epoch_ms
from gex_pipeline.feeds import Feed, request_id
from gex_pipeline.storage.lease import fetch_row

PENDING, STARTED, COMPLETED, FAILED = "pending", "started", "completed", "failed"
OPEN = (PENDING, STARTED)
_PUBLIC_COLUMNS = (
    "id, ticker, endpoint, date, status, attempts, last_error, run_id, "
    "announced, announced_at, started_at, finished_at, coalesce(announced_again, false) AS announced_again"
)


@dataclass(frozen=True)
class Request:
    """One announced history file, without its URL. Times are epoch milliseconds, UTC; None: not yet.

    Attributes:
        announced: how often it was announced.
        attempts: how often a run was started since the last announcement that opened it.
        last_error: why the last attempt failed; never holds a URL's query string.
        run_id: the Dagster run of the last attempt.
        announced_again: it was announced once more since its run was started.
    """

    id: int
    ticker: str
    endpoint: str
    date: dt.date
    status: str
    attempts: int
    last_error: str | None
    run_id: str | None
    announced: int
    announced_at: int
    started_at: int | None
    finished_at: int | None
    announced_again: bool = False

    @property
    def feed(self) -> Feed:
        """The feed the file belongs to."""
        return Feed(self.ticker, self.endpoint)

    def public(self) -> dict[str, Any]:
        """Return it as the gateway shows it."""
        return {**asdict(self), "date": self.date.isoformat()}


def announce(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    date: dt.date,
    *,
    url: str,
    metadata: str | None,
    announced_at_ms: int,
) -> None:
    """Add a request, or give an existing one the fresh URL; a finished one becomes pending again.

    A later announcement has a later time, also when the clock was set back in between.
    """
    key = request_id(feed, date)
    connection.execute(
        "UPDATE gex_history_queue SET url = ?, metadata = ?, announced = announced + 1, "
        "announced_at = greatest(?, announced_at + 1), "
        "announced_again = status = 'started', "
        "attempts = CASE WHEN status IN ('completed', 'failed') THEN 0 ELSE attempts END, "
        "last_error = CASE WHEN status = 'completed' THEN NULL ELSE last_error END, "
        "finished_at = CASE WHEN status = 'started' THEN finished_at END, "
        "status = CASE WHEN status = 'started' THEN status ELSE 'pending' END WHERE id = ?",
        [url, metadata, announced_at_ms, key],
    )
    connection.execute(
        "INSERT INTO gex_history_queue BY NAME SELECT ? AS id, ? AS ticker, ? AS endpoint, ? AS date, ? AS url, "
        "? AS metadata, 'pending' AS status, 0 AS attempts, 1 AS announced, ? AS announced_at "
        "WHERE NOT EXISTS (FROM gex_history_queue WHERE id = ?)",
        [key, feed.ticker, feed.endpoint, date, url, metadata, announced_at_ms, key],
    )


def count_by_status(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return how many requests there are of each status."""
    stored = connection.execute("SELECT status, count(*) FROM gex_history_queue GROUP BY status").fetchall()
    return dict.fromkeys((PENDING, STARTED, COMPLETED, FAILED), 0) | dict(stored)


def list_requests(
    connection: duckdb.DuckDBPyConnection, *, statuses: Sequence[str] | None = None, limit: int = 1000
) -> list[Request]:
    """Return requests, the last announced first."""
    condition = "" if statuses is None else "WHERE list_contains($statuses, status) "
    parameters: dict[str, object] = {"limit": limit} | ({} if statuses is None else {"statuses": list(statuses)})
    rows = connection.execute(
        f"SELECT {_PUBLIC_COLUMNS} FROM gex_history_queue {condition}ORDER BY announced_at DESC, id LIMIT $limit",
        parameters,
    ).fetchall()
    return [Request(*row) for row in rows]


def list_failed_since(connection: duckdb.DuckDBPyConnection, after_ms: int) -> list[Request]:
    """Return the requests that failed for good after a moment (epoch ms UTC), the first to fail first."""
    rows = connection.execute(
        f"SELECT {_PUBLIC_COLUMNS} FROM gex_history_queue WHERE status = 'failed' AND finished_at > ? "
        "ORDER BY finished_at, id",
        [after_ms],
    ).fetchall()
    return [Request(*row) for row in rows]


def find_request(connection: duckdb.DuckDBPyConnection, key: int) -> Request | None:
    """Return one request, None when there is none with this id."""
    row = fetch_row(connection, f"SELECT {_PUBLIC_COLUMNS} FROM gex_history_queue WHERE id = ?", [key])
    return Request(*row) if row else None


def find_announcement(connection: duckdb.DuckDBPyConnection, feed: Feed, date: dt.date) -> tuple[str, int] | None:
    """Return the URL announced for a partition and when (epoch ms), None when there is none to fetch.

    The URL is a secret: never log it, show it or put it into an event.
    """
    row = fetch_row(
        connection,
        "SELECT url, announced_at FROM gex_history_queue WHERE id = ? AND url IS NOT NULL",
        [request_id(feed, date)],
    )
    return (str(row[0]), int(row[1])) if row else None


def mark_started(connection: duckdb.DuckDBPyConnection, key: int, started_at_ms: int) -> None:
    """Count an attempt of a pending request."""
    connection.execute(
        "UPDATE gex_history_queue SET status = 'started', attempts = attempts + 1, run_id = NULL, started_at = ?, "
        "announced_again = false, "
        "finished_at = NULL WHERE id = ? AND status = 'pending'",
        [started_at_ms, key],
    )


def mark_running(connection: duckdb.DuckDBPyConnection, key: int, run_id: str) -> None:
    """Note which run works on a started request."""
    connection.execute("UPDATE gex_history_queue SET run_id = ? WHERE id = ? AND status = 'started'", [run_id, key])


def mark_completed(connection: duckdb.DuckDBPyConnection, key: int, run_id: str) -> None:
    """Close a request whose run succeeded, and forget its URL when it is signed."""
    connection.execute(
        "UPDATE gex_history_queue SET status = 'completed', run_id = ?, last_error = NULL, finished_at = ?, "
        "url = CASE WHEN contains(url, '?') THEN NULL ELSE url END WHERE id = ? AND status = 'started'",
        [run_id, epoch_ms(), key],
    )


def mark_imported(connection: duckdb.DuckDBPyConnection, feed: Feed, date: dt.date, run_id: str | None) -> None:
    """Close a failed request whose day was imported by other means: its last error stays, its URL is forgotten."""
    connection.execute(
        "UPDATE gex_history_queue SET status = 'completed', run_id = coalesce(?, run_id), finished_at = ?, "
        "url = NULL WHERE id = ? AND status = 'failed'",
        [run_id, epoch_ms(), request_id(feed, date)],
    )


def reopen(connection: duckdb.DuckDBPyConnection, key: int) -> None:
    """Make a request pending anew whose file was announced again while it was imported."""
    connection.execute(
        "UPDATE gex_history_queue SET status = 'pending', attempts = 0, last_error = NULL, finished_at = NULL "
        "WHERE id = ? AND status = 'started'",
        [key],
    )


def mark_failed(
    connection: duckdb.DuckDBPyConnection, key: int, *, error: str, run_id: str | None, try_again: bool
) -> None:
    """Record a failed attempt; `try_again` makes the request pending for another one."""
    connection.execute(
        "UPDATE gex_history_queue SET status = ?, run_id = coalesce(?, run_id), last_error = ?, finished_at = ? "
        "WHERE id = ? AND status IN ('pending', 'started')",
        [PENDING if try_again else FAILED, run_id, error, epoch_ms(), key],
    )
