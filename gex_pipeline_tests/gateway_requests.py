"""Requests to a gateway, for tests: what is sent, and a look at what comes back."""

import json
from typing import Any

import requests

from gex_pipeline.journal import list_segments, segment_path
from gex_pipeline_tests.processes import GatewayProcess

KEY = "key-of-this-test"
SECRET = "sv=2024&sig=SIGNATURE-OF-THIS-TEST"  # noqa: S105 - what must never come back
SNAPSHOT: dict[str, Any] = {
    "timestamp": 1763130600,
    "ticker": "SPX",
    "spot": 6838.5,
    "strikes": [[6890, -228.01, -86.9, [-240.55, -243.15, -245.22, -221.27, -220.12]]],
}
MESSAGE = ["flow-alerts", {"ticker": "TSLA"}]
ANNOUNCEMENT = {"url": f"https://hist.gex.bot/gb-nqndx/2025-11-14_NQ_NDX_classic_gex_zero.json?{SECRET}"}
CAPTURES = [("/gex", SNAPSHOT, 202), ("/uw", MESSAGE, 200), ("/gex_history_url", ANNOUNCEMENT, 202)]
ROUTES = [path for path, _, _ in CAPTURES]


def post(gateway: GatewayProcess, path: str, body: object, **headers: str) -> requests.Response:
    """Post a body as it is, or as JSON when it is no text yet."""
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    named = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    return requests.post(gateway.url + path, data=data, headers=named, timeout=30)


def get(gateway: GatewayProcess, path: str, headers: dict[str, str] | None = None) -> requests.Response:
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
