"""The gateway over real HTTP: what it takes, what it refuses and how it says so."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from gex_pipeline.feeds import Feed, read_date, request_id
from gex_pipeline.journal import list_segments, segment_path
from gex_pipeline_tests.processes import (
    GatewayProcess,
    clean_environment,
    free_port,
    gateway_command,
    running_gateway,
    wait_until,
)
from webhook_gateway.bodies import MAX_BODY_BYTES

KEY = "key-of-this-test"
SECRET = "sv=2024&sig=SIGNATURE-OF-THIS-TEST"  # noqa: S105 - what must never come back
DAY_FILE = "2025-11-14_NQ_NDX_classic_gex_zero.json"
DAY_URL = f"https://hist.gex.bot/gb-nqndx/{DAY_FILE}?{SECRET}"
SNAPSHOT: dict[str, Any] = {
    "timestamp": 1763130602,
    "ticker": "SPX",
    "spot": 6838.5,
    "strikes": [[6890, -228.01, -86.9, [-240.55, -243.15, -245.22, -221.27, -220.12]]],
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway as most people run it, with two more history hosts."""
    hosts = "hist.gex.bot,files.example:8443,127.0.0.1:9911"
    with running_gateway(tmp_path_factory.mktemp("open") / "data", GEX_HISTORY_HOSTS=hosts) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that other machines can reach and that asks for a key."""
    data_dir = tmp_path_factory.mktemp("guarded") / "data"
    with running_gateway(data_dir, "--host", "0.0.0.0", GEX_API_KEY=KEY) as gateway:  # noqa: S104
        yield gateway


def post(gateway: GatewayProcess, path: str, body: object, **headers: str) -> requests.Response:
    """Post a body as it is, or as JSON when it is no text yet."""
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    named = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    return requests.post(gateway.url + path, data=data, headers=named, timeout=30)


def get(gateway: GatewayProcess, path: str, **headers: str) -> requests.Response:
    return requests.get(gateway.url + path, headers=headers, timeout=30)


def problems(answer: requests.Response) -> list[dict[str, str]]:
    """Return the `detail` of an error, after a look at its shape."""
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["detail"]
    detail: list[dict[str, str]] = answer.json()["detail"]
    assert detail
    assert all(each.keys() == {"field", "value", "expected"} for each in detail)
    return detail


def journal_bytes(gateway: GatewayProcess) -> int:
    journal_dir = gateway.data_dir / "journal"
    return sum(segment_path(journal_dir, segment).stat().st_size for segment in list_segments(journal_dir))


@pytest.mark.parametrize(
    ("body", "ticker"),
    [
        (SNAPSHOT | {"timestamp": 1763130610}, "SPX"),
        (SNAPSHOT | {"timestamp": 1763130611000, "ticker": " nq_ndx "}, "NQ_NDX"),
        (SNAPSHOT | {"timestamp": "2025-11-14T09:30:12-05:00", "strikes": [{"strike": 1, "gamma": "2.5"}]}, "SPX"),
        ({"timestamp": 1763130613, "ticker": "SPX", "spot_price": 1}, "SPX"),
        (SNAPSHOT | {"timestamp": 1763130614, "endpoint": "gex_full", "never_seen": [{}]}, "SPX"),
        (json.dumps(SNAPSHOT | {"timestamp": 1763130615}, indent=2), "SPX"),
    ],
)
def test_a_snapshot_is_accepted_and_loaded(gateway: GatewayProcess, body: object, ticker: str) -> None:
    answer = post(gateway, "/gex", body)
    assert (answer.status_code, answer.json()) == (202, {"status": "ok", "ticker": ticker})
    gateway.wait_until_loaded()
    fields = json.loads(body) if isinstance(body, str) else body
    second = int(str(fields["timestamp"])[15:19].lstrip("0:-") or 0) if isinstance(fields["timestamp"], str) else 0
    timestamp_ms = 1763130612000 if second else int(str(fields["timestamp"])[:10]) * 1000
    found = gateway.rows(f"SELECT ticker FROM gex_snapshots WHERE timestamp = {timestamp_ms}")  # noqa: S608
    assert found == [(ticker,)]
