"""`GET /metrics`: what was counted, and what is looked at when somebody asks, as Prometheus text."""

import time
from collections.abc import Iterator

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from webhook_gateway import openapi
from webhook_gateway.counters import REGISTRY
from webhook_gateway.health import checks_of
from webhook_gateway.state import Gateway, gateway_of

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=PlainTextResponse, responses=openapi.metrics_answers())
async def metrics(request: Request) -> Response:
    """Give everything that is counted and measured to Prometheus, as text. Never waits for the database."""
    return Response(generate_latest(_Scrape(gateway_of(request))), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class _Scrape(Collector):
    """Everything there is to tell of one gateway at this moment."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        yield from REGISTRY.collect()
        yield from _journal(self._gateway)
        yield from _checks(self._gateway)


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
    up = GaugeMetricFamily("gex_check_ok", "1 when a check of /ready is fine, else 0.", labels=["check"])
    for name, check in checks.items():
        up.add_metric([name], check["ok"])
    yield up
    yield GaugeMetricFamily("gex_backlog_bytes", "Journal bytes not loaded yet.", checks["backlog"]["bytes"])
    yield GaugeMetricFamily(
        "gex_backlog_age_seconds", "How long the oldest of them waits.", checks["backlog"]["age_seconds"]
    )
    yield GaugeMetricFamily("gex_disk_free_bytes", "Free on the journal's disk.", checks["disk"]["free_bytes"])
    yield CounterMetricFamily(
        "gex_loader_restarts", "Times the loader ended by itself.", checks["loader"]["restarts"]
    )
