"""A journal for tests: captures written as the gateway writes them, loaded, and looked for."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import msgspec

from gex_pipeline.journal import Kind, encode_record, name_journal, segment_path
from gex_pipeline.loader.loading import Loader
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease

DAY = dt.date(2025, 11, 14)
RECEIVED_MS = 1_763_130_662_000
OPENING_MS = 1_763_130_600_000
TRADE: dict[str, Any] = {
    "id": "3f1c2a7e",
    "executed_at": "2025-11-14T14:31:02.123Z",
    "option_chain_id": "SPXW251114C06850000",
    "price": "4.20",
    "size": 10,
    "underlying_price": "6838.17",
    "implied_volatility": "0.181",
    "tags": ["ask_side"],
}


def new_journal(folder: Path) -> Settings:
    """Make a data folder with an empty journal."""
    settings = load_settings(data_dir=folder / "data")
    settings.journal_dir.mkdir(parents=True)
    name_journal(settings.journal_dir)
    return settings


def write(settings: Settings, kind: Kind, *bodies: object, segment: int = 1) -> None:
    """Append captures to a segment as the gateway does, one second apart."""
    with segment_path(settings.journal_dir, segment).open("ab") as file:
        for number, body in enumerate(bodies):
            file.write(encode_record(kind, RECEIVED_MS + 1000 * number, msgspec.json.encode(body)))


def snapshot(second: int = 0, **fields: object) -> dict[str, object]:
    strikes = [[6890, -228.01, -86.9, [-240.55, -243, -245.22, -221.27, -220.12]], [6895.21, -48.47, 69.76]]
    return {"timestamp": OPENING_MS // 1000 + second, "ticker": "SPX", "spot": 6838.5, "strikes": strikes} | fields


def load(settings: Settings) -> Loader:
    """Load until nothing is left."""
    loader = Loader(settings, lease_timeout_seconds=20)
    while loader.load_next():
        pass
    return loader


def rows(settings: Settings, query: str) -> list[Any]:
    with lease(settings.database_path, purpose="look", timeout_seconds=10) as connection:
        return connection.execute(query).fetchall()


def counts(settings: Settings) -> dict[str, int]:
    names = ("gex_snapshots", "gex_strikes", "universal_webhooks", "option_trades_events", "gex_history_queue")
    return {name: rows(settings, f"SELECT count(*) FROM {name}")[0][0] for name in names}  # noqa: S608


def quarantined(settings: Settings) -> list[dict[str, Any]]:
    files = sorted(settings.quarantine_dir.rglob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
