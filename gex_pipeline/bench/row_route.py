"""The plain way to keep a snapshot: `python -m gex_pipeline.bench.row_route --port PORT --data-dir DIR`.

Each request opens the database, inserts one row and closes it. It checks nothing, and keeps the strikes as text.
"""

import json
import threading
from pathlib import Path
from typing import Any

import duckdb
from fastapi import FastAPI

from gex_pipeline.settings import load_settings
from webhook_gateway.__main__ import listen, parser, run_server


def create_app(database: Path) -> FastAPI:
    """Build the application on a new database."""
    app = FastAPI()
    lock = threading.Lock()
    database.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE gex (timestamp BIGINT, ticker VARCHAR, spot DOUBLE, strikes VARCHAR)")

    @app.post("/gex", status_code=202)
    def take(snapshot: dict[str, Any]) -> dict[str, str]:
        row = [snapshot["timestamp"], snapshot["ticker"], snapshot["spot"], json.dumps(snapshot["strikes"])]
        with lock, duckdb.connect(str(database)) as connection:
            connection.execute("INSERT INTO gex VALUES (?, ?, ?, ?)", row)
        return {"status": "ok"}

    @app.get("/ready")
    def ready() -> dict[str, str]:
        return {}

    return app


if __name__ == "__main__":
    settings = load_settings(**vars(parser().parse_args()))
    run_server(create_app(settings.database_path), settings, listen(settings))
