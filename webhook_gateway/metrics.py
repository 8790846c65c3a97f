"""`GET /metrics`: what was counted, and what is looked at when somebody asks, as Prometheus text."""

import time
from collections.abc import Iterator, Mapping

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from gex_pipeline.clock import epoch_ms
from gex_pipeline.loader.status import Loaded, read_status
from gex_pipeline.poller.status import read_status as read_poller_status
from gex_pipeline.storage.lease_waits import WAITS
from webhook_gateway import openapi
from webhook_gateway.counters import REGISTRY
from webhook_gateway.figures import Figures
from webhook_gateway.health import checks_of
from webhook_gateway.state import Gateway, gateway_of

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=PlainTextResponse, responses=openapi.metrics_answers())
async def metrics(request: Request) -> Response:
    """Give everything that is counted and measured to Prometheus, as text. Never waits for the database."""
    gateway = gateway_of(request)
    gateway.figures.refresh(gateway.settings)
    return Response(generate_latest(_Scrape(gateway)), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class _Scrape(Collector):
    """Everything there is to tell of one gateway at this moment."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        yield from REGISTRY.collect()
        yield from _journal(self._gateway)
        yield from _checks(self._gateway)
        yield from _loader(self._gateway)
        yield from _stored(self._gateway.figures)
        yield from _repeats(self._gateway)
        yield from _poller(self._gateway)
        yield from _readers(self._gateway)


def _journal(gateway: Gateway) -> Iterator[Metric]:
    journal = gateway.journal
    yield GaugeMetricFamily("gex_journal_segment", "Number of the segment that is written.", journal.segment)
    yield GaugeMetricFamily("gex_journal_segment_bytes", "Bytes in that segment.", journal.size_bytes)
    age = GaugeMetricFamily("gex_journal_sync_age_seconds", "Since the last fsync that made captures durable.")
    if journal.synced_at is not None:
        age.add_metric([], time.monotonic() - journal.synced_at)
    yield age


def _checks(gateway: Gateway) -> Iterator[Metric]:
    """Tell what `/ready` tells, by the same looks."""
    checks = checks_of(gateway)
    yield _gauges(
        "gex_check_ok",
        "1 when a check of /ready is fine, else 0.",
        "check",
        {name: check["ok"] for name, check in checks.items()},
    )
    yield GaugeMetricFamily("gex_backlog_bytes", "Journal bytes not loaded yet.", checks["backlog"]["bytes"])
    yield GaugeMetricFamily(
        "gex_backlog_age_seconds", "How long the oldest of them waits.", checks["backlog"]["age_seconds"]
    )
    yield GaugeMetricFamily("gex_disk_free_bytes", "Free on the journal's disk.", checks["disk"]["free_bytes"])
    yield CounterMetricFamily(
        "gex_loader_restarts", "Times the loader ended by itself.", checks["loader"]["restarts"]
    )


def _loader(gateway: Gateway) -> Iterator[Metric]:
    """Tell what the loader left word of."""
    status = read_status(gateway.settings.journal_dir)
    loaded = status.loaded if status else Loaded()
    lag = GaugeMetricFamily("gex_loader_lag_seconds", "Since the loader last had loaded everything.")
    if status is not None and status.current_at is not None:
        lag.add_metric([], time.monotonic() - status.current_at)
    yield lag
    yield _counters("gex_loaded_rows", "Rows inserted by the loader.", "table", loaded.rows)
    ages = {feed: (epoch_ms() - newest_ms) / 1000 for feed, newest_ms in loaded.newest_ms.items()}
    yield _gauges("gex_feed_age_seconds", "Since the newest loaded snapshot of a feed.", "feed", ages)
    processes = {"gateway": WAITS} | ({"loader": status.waits} if status else {})
    yield _counters(
        "gex_leases", "Leases of the database.", "process", {name: each.leases for name, each in processes.items()}
    )
    yield _counters(
        "gex_lease_wait_seconds",
        "Seconds until they were had.",
        "process",
        {name: each.seconds for name, each in processes.items()},
    )
    yield _counters(
        "gex_lease_timeouts", "Leases given up.", "process", {name: each.timeouts for name, each in processes.items()}
    )


def _stored(figures: Figures) -> Iterator[Metric]:
    """Tell what was last found in the database and in quarantine, and how old it is."""
    stored = figures.stored
    imports = {each.outcome: each for each in stored.imports} if stored else {}
    age = GaugeMetricFamily("gex_database_figures_age_seconds", "Since the database was last asked.")
    if stored is not None:
        age.add_metric([], time.monotonic() - stored.found_at)
    yield age
    yield _gauges("gex_queue_requests", "Announced history files.", "status", stored.queue if stored else {})
    for name, meaning, attribute in (
        ("gex_imports", "Attempts with history files.", "attempts"),
        ("gex_import_seconds", "What they took.", "seconds"),
        ("gex_imported_snapshots", "Snapshots they inserted.", "snapshots"),
        ("gex_imported_strikes", "Strikes they inserted.", "strikes"),
    ):
        counts = {outcome: getattr(each, attribute) for outcome, each in imports.items()}
        yield _counters(name, meaning, "outcome", counts)
    yield _gauges("gex_quarantined_records", "Records in quarantine.", "source", figures.quarantined)


def _repeats(gateway: Gateway) -> Iterator[Metric]:
    """Tell what came again, from the loader and from history files."""
    status = read_status(gateway.settings.journal_dir)
    loaded = status.loaded if status else Loaded()
    duplicates = CounterMetricFamily(
        "gex_duplicates", "What was there already, the same.", labels=["source", "table"]
    )
    conflicts = CounterMetricFamily(
        "gex_conflicts", "Snapshots that were there already with other values.", labels=["source"]
    )
    for table, count in loaded.duplicates.items():
        duplicates.add_metric(["live", table], count)
    conflicts.add_metric(["live"], loaded.conflicts)
    if stored := gateway.figures.stored:
        differing = sum(each.differing for each in stored.imports)
        present = sum(each.present for each in stored.imports)
        duplicates.add_metric(["history", "gex_snapshots"], present - differing)
        conflicts.add_metric(["history"], differing)
    yield duplicates
    yield conflicts


def _poller(gateway: Gateway) -> Iterator[Metric]:
    """Tell how often GexBot was asked; nothing where no feed is polled."""
    told = read_poller_status(gateway.settings.journal_dir) if gateway.poller else None
    feeds = told.feeds if told else {}
    yield _counters(
        "gex_poller_polls", "Times GexBot was asked.", "feed", {feed: each.polls for feed, each in feeds.items()}
    )
    yield _counters(
        "gex_poller_failures",
        "Polls that came to nothing.",
        "feed",
        {feed: each.failures for feed, each in feeds.items()},
    )
    restarts = CounterMetricFamily("gex_poller_restarts", "Times the poller ended by itself.")
    if gateway.poller:
        restarts.add_metric([], gateway.poller.restarts)
    yield restarts


def _readers(gateway: Gateway) -> Iterator[Metric]:
    """Tell who reads; how often and how long it took is with the other requests, by route."""
    yield GaugeMetricFamily("gex_queries", "Queries under way or waiting.", gateway.queries.waiting)
    yield GaugeMetricFamily("gex_stream_listeners", "Listeners to new snapshots.", gateway.streams.listeners)


def _gauges(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    return _labelled(GaugeMetricFamily(name, meaning, labels=[label]), values)


def _counters(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    return _labelled(CounterMetricFamily(name, meaning, labels=[label]), values)


def _labelled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float]) -> Metric:
    for value_of_label, value in values.items():
        family.add_metric([value_of_label], value)
    return family
