"""How what is stored is: the database and who holds it, the queue, the last imports, the backups."""

import datetime as dt
from typing import Any

import duckdb

from gex_pipeline.backups.folder import list_backups
from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import GexError, LeaseTimeoutError
from gex_pipeline.settings import Settings
from gex_pipeline.status.parts import Part, State, ago
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.lineage import list_lineage, not_imported_since
from gex_pipeline.storage.request_queue import count_by_status
from gex_pipeline.storage.schema import has_table

LEASE_SECONDS = 3.0
IMPORTS = 5
RECENT_MS = 86_400_000
# A backup is made every night, and one night may be missed.
OLD_BACKUP_HOURS = 48.0


def stored(settings: Settings) -> list[Part]:
    """Look into the database, for as long as a lease takes, and into the folder of backups."""
    return [*_database(settings), _backups(settings)]


def _database(settings: Settings) -> list[Part]:
    path = settings.database_path
    if not path.exists():
        return [Part("database", "ok", [f"there is none at {path} yet"], {"size_bytes": None})]
    size_bytes = path.stat().st_size
    size = f"{size_bytes / 1e6:,.1f} MB"
    figures: dict[str, Any] = {"size_bytes": size_bytes, "holder": None, "error": None}
    try:
        with lease(path, purpose="see how it is", timeout_seconds=LEASE_SECONDS, read_only=True) as connection:
            return [Part("database", "ok", [f"{size}, free to be used"], figures), *_told(connection)]
    except LeaseTimeoutError as error:
        busy = f"{size}; {error.__cause__ or error}"
        return [Part("database", "degraded", [busy], {**figures, "holder": str(error.__cause__ or error)})]
    except (GexError, duckdb.Error) as error:
        return [Part("database", "degraded", [f"{size}; {error}"], {**figures, "error": str(error)})]


def _told(connection: duckdb.DuckDBPyConnection) -> list[Part]:
    parts = []
    if has_table(connection, "gex_history_queue"):
        counts = count_by_status(connection)
        told = ", ".join(f"{count:,} {status}" for status, count in counts.items())
        parts.append(Part("queue", "ok", [f"announced files: {told}"], counts))
    if has_table(connection, "data_lineage"):
        parts.append(_imports(connection))
    return parts


def _imports(connection: duckdb.DuckDBPyConnection) -> Part:
    """Tell of the days that were refused or failed within a day and not imported since, and of the last attempts."""
    open_days = not_imported_since(connection, epoch_ms() - RECENT_MS)
    lines = list_lineage(connection, {"record_type": "history"}, limit=IMPORTS)
    shown = [_line(each) for each in open_days[:IMPORTS]]
    if len(open_days) > IMPORTS:
        shown.append(f"and {len(open_days) - IMPORTS:,} more days that were refused or failed in the last 24 hours")
    shown += [_line(each) for each in lines if each not in open_days]
    kept = ("import_id", "ticker", "endpoint", "date", "status", "records_imported", "import_timestamp", "errors")
    found = [{name: each[name] for name in kept} | {"date": str(each["date"])} for each in lines]
    figures = {"imports": found, "not_imported": len(open_days)}
    state: State = "degraded" if open_days else "ok"
    return Part("last imports", state, shown or ["no history file was imported yet"], figures)


def _line(imported: dict[str, Any]) -> str:
    """Return one attempt with a history file in a line."""
    at_ms, errors = imported["import_timestamp"], " ".join((imported["errors"] or "").split())
    when = f"{ago((epoch_ms() - at_ms) / 1000)} ago" if at_ms is not None else "at an unknown time"
    outcome = f"{imported['status']}: {errors}" if errors else f"{imported['status']}"
    rows = f", {imported['records_imported']:,} snapshots" if imported["records_imported"] else ""
    return f"{imported['date']} {imported['ticker']}:{imported['endpoint']} {outcome}{rows}, {when}"


def _backups(settings: Settings) -> Part:
    backups = list_backups(settings.database_backups_dir)
    if not backups:
        return Part("backups", "ok", ["there is none yet"], {"newest": None})
    newest = backups[0]
    age = dt.datetime.now(dt.UTC) - newest.manifest.created_at
    is_verified = newest.manifest.verified_at is not None
    is_old = settings.backup_max_age_hours > 0 and age > dt.timedelta(hours=OLD_BACKUP_HOURS)
    verdict = "verified" if is_verified else "DAMAGED"
    return Part(
        "backups",
        "ok" if is_verified and not is_old else "degraded",
        [f"the newest is {newest.name}, {ago(age.total_seconds())} old, {verdict}; {len(backups)} in all"],
        {
            "newest": newest.name,
            "age_seconds": round(age.total_seconds()),
            "is_verified": is_verified,
            "count": len(backups),
        },
    )
