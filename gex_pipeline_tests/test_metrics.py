"""GET /metrics: what a running gateway counts."""

import pytest
import requests

from gex_pipeline_tests.gateway_requests import CAPTURES, KEY, SNAPSHOT, get, post
from gex_pipeline_tests.processes import GatewayProcess
from gex_pipeline_tests.scrapes import Scrape, scrape


def test_every_capture_is_counted_by_kind_and_refusals_and_control_messages_are_not(gateway: GatewayProcess) -> None:
    before = scrape(gateway)
    for path, body, status in CAPTURES:
        assert post(gateway, path, body).status_code == status
        assert post(gateway, path, b"{").status_code == 400
    assert post(gateway, "/uw", [None, None, "phoenix", "heartbeat", {}]).status_code == 200
    after = scrape(gateway)
    kinds = [path.strip("/") for path, _, _ in CAPTURES]
    grown = {
        kind: after.value("gex_captures_total", kind=kind) - before.value("gex_captures_total", kind=kind)
        for kind in kinds
    }
    assert grown == dict.fromkeys(kinds, 1)


@pytest.mark.parametrize("headers", [{}, {"origin": "https://gexbot.com"}], ids=["direct", "from a page"])
def test_a_request_is_counted_once_by_method_route_and_status_whichever_way_it_takes(
    gateway: GatewayProcess, headers: dict[str, str]
) -> None:
    before = scrape(gateway)
    post(gateway, "/gex", SNAPSHOT, **headers)
    post(gateway, "/gex", b"{", **headers)
    get(gateway, "/gex_history_queue/1", headers)
    get(gateway, "/gex_history_queue/2", headers)
    get(gateway, "/nowhere", headers)
    requests.request("PATCH", f"{gateway.url}/nowhere", headers=headers, timeout=30)
    after = scrape(gateway)

    def grown(method: str, route: str, status: str) -> float:
        labels = {"method": method, "route": route, "status": status}
        return after.value("gex_requests_total", **labels) - before.value("gex_requests_total", **labels)

    assert grown("POST", "/gex", "202") == 1
    assert grown("POST", "/gex", "400") == 1
    assert grown("GET", "/gex_history_queue/{request_id}", "404") == 2
    assert grown("GET", "other", "404") == 1
    assert grown("other", "other", "404") == 1
    assert grown("GET", "/metrics", "200") == 1
    timed = {"method": "POST", "route": "/gex"}
    assert after.value("gex_request_seconds_count", **timed) == before.value("gex_request_seconds_count", **timed) + 2


def test_refused_strangers_are_counted_and_told_nothing(guarded: GatewayProcess) -> None:
    assert get(guarded, "/metrics").status_code == 401
    assert post(guarded, "/gex", SNAPSHOT).status_code == 401
    told = Scrape(get(guarded, "/metrics", {"X-API-Key": KEY}).text)
    assert told.value("gex_requests_total", method="GET", route="/metrics", status="401") == 1
    assert told.value("gex_requests_total", method="POST", route="/gex", status="401") == 1


def test_the_journal_s_figures_follow_what_is_written(gateway: GatewayProcess) -> None:
    before = scrape(gateway)
    sent = 20
    for _ in range(sent):
        assert post(gateway, "/gex", SNAPSHOT).status_code == 202
    after = scrape(gateway)
    segment = int(after.value("gex_journal_segment"))
    file = gateway.data_dir / "journal" / f"{segment:08d}.jsonl"
    assert after.value("gex_journal_segment_bytes") == file.stat().st_size
    written = after.value("gex_journal_bytes_total") - before.value("gex_journal_bytes_total")
    assert written == after.value("gex_journal_segment_bytes") - before.value("gex_journal_segment_bytes") > 0
    assert after.value("gex_journal_sync_seconds_count") - before.value("gex_journal_sync_seconds_count") == sent
    assert 0 <= after.value("gex_journal_sync_age_seconds") < 30
    assert after.value("gex_connections") >= 1


def test_a_scrape_says_what_readiness_says(gateway: GatewayProcess) -> None:
    post(gateway, "/gex", SNAPSHOT)
    gateway.wait_until_loaded()
    checks = gateway.ready()["checks"]
    told = scrape(gateway)
    assert {name: told.value("gex_check_ok", check=name) for name in checks} == {
        name: float(check["ok"]) for name, check in checks.items()
    }
    assert told.value("gex_backlog_bytes") == 0
    assert told.value("gex_loader_restarts_total") == checks["loader"]["restarts"]
    assert told.value("gex_disk_free_bytes") == pytest.approx(checks["disk"]["free_bytes"], rel=0.2)
    assert told.value("process_resident_memory_bytes") > 10e6


def test_the_route_is_in_the_openapi_document_as_text(gateway: GatewayProcess) -> None:
    described = get(gateway, "/openapi.json").json()["paths"]["/metrics"]["get"]["responses"]
    assert list(described["200"]["content"]) == ["text/plain"]
    assert "401" in described


def test_who_listens_to_new_snapshots_and_who_asked_for_old_ones_is_counted(gateway: GatewayProcess) -> None:
    before = scrape(gateway)
    with requests.get(f"{gateway.url}/gex/stream", stream=True, timeout=30) as stream:
        assert stream.ok
        assert scrape(gateway).value("gex_stream_listeners") == before.value("gex_stream_listeners") + 1
    get(gateway, "/gex?feed=NOBODY:gex_zero")
    after = scrape(gateway)
    asked = {"method": "GET", "route": "/gex"}
    assert after.value("gex_request_seconds_count", **asked) > before.value("gex_request_seconds_count", **asked)
    assert after.value("gex_queries") == 0
