"""`GET /gex/latest` over real HTTP."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from gex_pipeline_tests.gateway_requests import KEY, SNAPSHOT, get, post, problems
from gex_pipeline_tests.processes import GatewayProcess, running_gateway

NUMBERS = dict.fromkeys(
    (
        "spot_price", "zero_gamma", "net_gex", "min_dte", "sec_min_dte", "major_pos_vol", "major_pos_oi",
        "major_neg_vol", "major_neg_oi", "sum_gex_vol", "sum_gex_oi", "delta_risk_reversal", "net_gex_vol",
        "net_gex_oi",
    )
)  # fmt: skip


def latest(gateway: GatewayProcess, query: str = "") -> list[dict[str, Any]]:
    answer = get(gateway, f"/gex/latest{query}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    shown: list[dict[str, Any]] = answer.json()
    return shown


def test_the_newest_of_a_feed_is_shown_by_the_names_of_its_columns(gateway: GatewayProcess) -> None:
    sent = {
        "timestamp": 1763130602, "ticker": "shapes", "category": "one", "spot": "6838.5", "min_dte": 0.0,
        "vix": 17.10,
        "max_priors": [[7140, 1.5]], "max_change": None,
        "strikes": [[6890, -228, None, [1, None]], {"strike": "25197.21", "gamma": 2, "vanna": 0.5}, [1, 2, 3, []]],
    }  # fmt: skip
    before_ms = time.time_ns() // 1_000_000
    assert post(gateway, "/gex", sent).status_code == 202
    [shown] = latest(gateway, "?ticker=SHAPES&endpoint=gex_one")
    assert before_ms <= shown.pop("received_at") <= time.time_ns() // 1_000_000
    assert shown == NUMBERS | {
        "ticker": "SHAPES", "endpoint": "gex_one", "timestamp": 1763130602000, "source": "live",
        "spot_price": 6838.5, "min_dte": 0, "extra": {"vix": 17.1}, "max_priors": [[7140, 1.5]], "max_change": None,
        "strikes": [
            {"strike": 6890.0, "gamma": -228.0, "oi_gamma": None, "vanna": None, "priors": [1.0, None]},
            {"strike": 25197.21, "gamma": 2.0, "oi_gamma": None, "vanna": 0.5, "priors": None},
            {"strike": 1.0, "gamma": 2.0, "oi_gamma": 3.0, "vanna": None, "priors": []},
        ],
    }  # fmt: skip


def test_an_older_snapshot_does_not_replace_a_newer_one_and_a_refused_one_neither(gateway: GatewayProcess) -> None:
    for timestamp, spot, status in ((1763130605, 5, 202), (1763130603, 3, 202), (1763130607, "high", 400)):
        sent = SNAPSHOT | {"ticker": "ORDER", "timestamp": timestamp, "spot": spot}
        assert post(gateway, "/gex", sent).status_code == status
        assert [each["spot_price"] for each in latest(gateway, "?ticker=order")] == [5]
    assert post(gateway, "/gex", SNAPSHOT | {"ticker": "ORDER", "timestamp": 1763130606, "spot": 6}).ok
    assert [each["spot_price"] for each in latest(gateway, "?ticker=order")] == [6]


def test_a_snapshot_inside_a_message_counts_too(gateway: GatewayProcess) -> None:
    inside = SNAPSHOT | {"ticker": "INSIDE", "endpoint": "full"}
    assert post(gateway, "/uw", ["gex:INSIDE", inside]).status_code == 200
    assert [(each["endpoint"], each["source"]) for each in latest(gateway, "?ticker=INSIDE")] == [("gex_full", "uw")]
    assert post(gateway, "/uw", ["gex:INSIDE", inside | {"timestamp": "never"}]).status_code == 200
    assert post(gateway, "/uw", ["flow-alerts", SNAPSHOT | {"ticker": "OUTSIDE"}]).status_code == 200
    assert len(latest(gateway, "?ticker=INSIDE")) == 1
    assert get(gateway, "/gex/latest?ticker=OUTSIDE").status_code == 404


@pytest.mark.parametrize(
    ("query", "status", "field", "value"),
    [
        ("?ticker=NOWHERE", 404, "feed", "NOWHERE:*"),
        ("?ticker=KNOWN&endpoint=gex_full", 404, "feed", "KNOWN:gex_full"),
        ("?endpoint=never", 404, "feed", "*:never"),
        ("?ticker=../etc", 400, "ticker", "../etc"),
        ("?ticker=", 400, "ticker", ""),
        ("?endpoint=a/b", 400, "endpoint", "a/b"),
    ],
)
def test_a_feed_that_is_not_known_is_told_and_which_ones_are(
    gateway: GatewayProcess, query: str, status: int, field: str, value: str
) -> None:
    assert post(gateway, "/gex", SNAPSHOT | {"ticker": "KNOWN"}).ok
    answer = get(gateway, f"/gex/latest{query}")
    assert answer.status_code == status
    [problem] = problems(answer)
    assert (problem["field"], problem["value"]) == (field, value)
    assert ("KNOWN:gex_zero" in problem["expected"]) == (status == 404)


def test_without_the_key_no_snapshot_is_shown(guarded: GatewayProcess) -> None:
    assert get(guarded, "/gex/latest").status_code == 401
    assert get(guarded, "/gex/latest", {"X-API-Key": KEY}).json() == []


def test_the_newest_are_shown_while_nothing_is_loaded_and_after_a_kill(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path / "data")
    gateway.start()
    loader = gateway.loader_id()
    assert loader is not None
    os.kill(loader, signal.SIGSTOP)
    try:
        for second in range(3):
            assert post(gateway, "/gex", SNAPSHOT | {"timestamp": 1763130600 + second}).ok
        before = latest(gateway)
        assert [each["timestamp"] for each in before] == [1763130602000]
    finally:
        gateway.kill()
        os.kill(loader, signal.SIGKILL)
    with running_gateway(tmp_path / "data") as again:
        assert latest(again) == before
