"""GET /metrics: what the loader, the database, the quarantine and the poller know."""

import asyncio
import datetime as dt
import os
import signal
from pathlib import Path

import pytest

from gex_pipeline.clock import epoch_ms
from gex_pipeline.feeds import Feed
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.lineage import ImportCounts, record_import
from gex_pipeline.storage.request_queue import announce
from gex_pipeline.storage.schema import ensure_schema
from gex_pipeline_tests.gateway_requests import ANNOUNCEMENT, SNAPSHOT, post
from gex_pipeline_tests.processes import running_gateway, wait_until
from gex_pipeline_tests.scrapes import scrape
from webhook_gateway import figures
from webhook_gateway.figures import Figures

SPX, DAY = Feed("SPX", "gex_zero"), dt.date(2025, 11, 14)
TRADE = ["option_trades:SPX", {"id": "one", "executed_at": 1763130600000, "option_symbol": "SPXW251114C06800000"}]


def store_import(database: Path, import_id: int, status: str, counts: ImportCounts) -> None:
    """Write the line of an import that began two seconds ago."""
    with lease(database, purpose="test") as connection:
        ensure_schema(connection)
        record_import(
            connection,
            import_id=import_id,
            source_file="day.json",
            sha256=f"{import_id:064d}",
            feed=SPX,
            date=DAY,
            counts=counts,
            status=status,
            run_id=None,
            started_at_ms=epoch_ms() - 2000,
        )


def store_request(database: Path, feed: Feed) -> None:
    """Announce a history file."""
    with lease(database, purpose="test") as connection:
        ensure_schema(connection)
        announce(connection, feed, DAY, url="https://hist.gex.bot/a", metadata=None, announced_at_ms=1)


def test_rows_repeats_and_conflicts_of_captures_are_counted_as_the_database_has_them(tmp_path: Path) -> None:
    now = epoch_ms() // 1000
    with running_gateway(tmp_path / "data") as gateway:
        for changes in ({}, {}, {"spot": 1.5}, {"timestamp": now - 100}, {"ticker": "VIX"}):
            assert post(gateway, "/gex", SNAPSHOT | changes).status_code == 202
        for body in (TRADE, TRADE, ["flow-alerts", {}]):
            assert post(gateway, "/uw", body).status_code == 200
        assert post(gateway, "/gex_history_url", ANNOUNCEMENT).status_code == 202
        gateway.wait_until_loaded()
        told = scrape(gateway)
        tables = ("gex_snapshots", "gex_strikes", "universal_webhooks", "option_trades_events", "gex_history_queue")
        stored = {table: gateway.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables}  # noqa: S608
        assert {table: told.value("gex_loaded_rows_total", table=table) for table in tables} == stored
        assert stored == dict(zip(tables, (3, 3, 3, 1, 1), strict=True))
        assert told.value("gex_duplicates_total", source="live", table="gex_snapshots") == 1
        assert told.value("gex_duplicates_total", source="live", table="option_trades_events") == 1
        assert told.value("gex_conflicts_total", source="live") == 1
        assert 100 <= told.value("gex_feed_age_seconds", feed="SPX:gex_zero") < 160
        assert told.value("gex_feed_age_seconds", feed="VIX:gex_zero") > 1e6
        assert told.value("gex_leases_total", process="loader") > 0
        assert told.value("gex_lease_wait_seconds_total", process="loader") > 0
        assert 0 <= told.value("gex_loader_lag_seconds") < 10

        loader = gateway.loader_id()
        assert loader is not None
        os.kill(loader, signal.SIGKILL)
        wait_until(lambda: gateway.loader_id() not in {None, loader}, 15)
        assert post(gateway, "/uw", ["after", {}]).status_code == 200
        wait_until(lambda: scrape(gateway).value("gex_loaded_rows_total", table="universal_webhooks") == 1, 15)
        told = scrape(gateway)
        assert told.value("gex_loaded_rows_total", table="gex_snapshots") == 0, "counted since the loader's start"
        assert 100 <= told.value("gex_feed_age_seconds", feed="SPX:gex_zero") < 190, "known from before"
        assert told.value("gex_loader_restarts_total") == 1


def test_a_scrape_never_waits_for_the_database_and_tells_what_is_in_it_when_it_is_free(tmp_path: Path) -> None:
    database = tmp_path / "data" / "gex_data.db"
    store_import(database, 1, "imported", ImportCounts(snapshots=1000, strikes=90_000, present=30, differing=4))
    store_import(database, 2, "imported", ImportCounts(500, 45_000, 0, 0))
    store_import(database, 3, "refused", ImportCounts(0, 0, 0, 0))
    store_request(database, SPX)
    with running_gateway(database.parent) as gateway:
        with lease(database, purpose="keep everybody waiting"):
            wait_until(lambda: scrape(gateway).value("gex_lease_timeouts_total", process="gateway") >= 1, 20)
            began = epoch_ms()
            told = scrape(gateway)
            assert epoch_ms() - began < 1500
            assert [name for name, _ in told.values if name.startswith(("gex_imports", "gex_queue"))] == []
        wait_until(lambda: scrape(gateway).value("gex_imports_total", outcome="imported"), 20)
        told = scrape(gateway)
        assert told.value("gex_imports_total", outcome="imported") == 2
        assert told.value("gex_imports_total", outcome="refused") == 1
        assert told.value("gex_imported_snapshots_total", outcome="imported") == 1500
        assert told.value("gex_imported_strikes_total", outcome="imported") == 135_000
        assert 4 <= told.value("gex_import_seconds_total", outcome="imported") < 60
        assert told.value("gex_duplicates_total", source="history", table="gex_snapshots") == 26
        assert told.value("gex_conflicts_total", source="history") == 4
        statuses = ("pending", "started", "completed", "failed")
        assert [told.value("gex_queue_requests", status=status) for status in statuses] == [1, 0, 0, 0]
        assert 0 <= told.value("gex_database_figures_age_seconds") < 20
        assert told.value("gex_leases_total", process="gateway") >= 1


async def looked(known: Figures, settings: Settings) -> int | None:
    """Have figures refreshed now, wait for it, and return how many requests are known to be pending."""
    known._looked_at = None
    known.refresh(settings)
    assert known._look is not None
    await known._look
    return known.stored.queue["pending"] if known.stored else None


def test_the_last_known_figures_stay_while_the_database_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "LEASE_SECONDS", 0.1)
    settings = load_settings(data_dir=tmp_path)

    async def look() -> None:
        known = Figures()
        assert await looked(known, settings) is None, "there is no database yet"
        store_request(settings.database_path, SPX)
        assert await looked(known, settings) == 1
        first, look = known.stored, known._look
        known.refresh(settings)
        assert known._look is look, "looked at again although the last look is not old"
        store_request(settings.database_path, Feed("VIX", "gex_one"))
        with lease(settings.database_path, purpose="keep it"):
            assert await looked(known, settings) == 1
            assert known.stored is first, "it tells its age"
        assert await looked(known, settings) == 2

    asyncio.run(look())


def test_records_in_quarantine_are_counted_where_they_came_from(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    live = settings.quarantine_dir / "live" / "journal" / "1.jsonl"
    history = settings.quarantine_dir / "gexbot" / "SPX" / "gex_zero" / "20251114.jsonl"
    for path, lines in ((live, 2), (history, 3)):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"{}\n" * lines)

    async def look() -> None:
        known = Figures()
        await looked(known, settings)
        assert known.quarantined == {"live": 2, "history": 3}
        live.write_bytes(b"{}\n" * 7)
        history.unlink()
        await looked(known, settings)
        assert known.quarantined == {"live": 7, "history": 0}

    asyncio.run(look())
