"""Asking the database for a moment, and what is said when it cannot be asked."""

from collections.abc import Callable
from typing import TypeVar

import duckdb

from gex_pipeline.errors import DamagedDatabaseError, GexError, LeaseTimeoutError
from gex_pipeline.queries.answer import Lack
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease

# How long it is waited for: where there is something to answer without it, and where there is not.
SHORT_WAIT_SECONDS, WAIT_SECONDS = 0.02, 3.0

Found = TypeVar("Found")


def ask(
    settings: Settings, wait_seconds: float, read: Callable[[duckdb.DuckDBPyConnection], Found]
) -> tuple[Found, None] | tuple[None, Lack]:
    """Return what `read` finds under a lease that cannot write, or why there is none.

    A user's own file, before the loader adds what it lacks, is left alone.
    """
    if not settings.database_path.exists():
        return None, "database missing"
    try:
        with lease(
            settings.database_path, purpose="answer a query", timeout_seconds=wait_seconds, read_only=True
        ) as connection:
            return read(connection), None
    except (duckdb.CatalogException, duckdb.BinderException):
        return None, "database not adopted"  # it lacks a table or a column
    except LeaseTimeoutError:
        return None, "database busy"
    except DamagedDatabaseError:
        return None, "database damaged"
    except GexError:
        return None, "database missing"
