"""Who may ask the gateway: the key, and pages in a browser."""

import pytest
import requests

from gex_pipeline_tests.gateway_requests import CAPTURES, KEY, ROUTES, SNAPSHOT, get, journal_bytes, post, problems
from gex_pipeline_tests.processes import GatewayProcess


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"X-API-Key": "wrong"}, {"X-API-Key": ""}]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", path) for path in ROUTES),
        ("GET", "/gex_history_queue"),
        ("GET", "/lineage"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/nowhere"),
    ],
)
def test_without_the_key_nothing_is_taken_or_told(
    guarded: GatewayProcess, method: str, path: str, headers: dict[str, str]
) -> None:
    before = journal_bytes(guarded)
    answer = requests.request(method, guarded.url + path, json=SNAPSHOT, headers=headers, timeout=30)
    assert answer.status_code == 401
    [problem] = problems(answer)
    assert problem["field"] == "authorization"
    assert KEY not in answer.text
    assert journal_bytes(guarded) == before


@pytest.mark.parametrize(
    "headers", [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, {"x_api_key": KEY}]
)
@pytest.mark.parametrize(("path", "body", "status"), CAPTURES)
def test_with_the_key_in_either_header_captures_are_taken(
    guarded: GatewayProcess, path: str, body: object, status: int, headers: dict[str, str]
) -> None:
    assert post(guarded, path, body, **headers).status_code == status


def test_with_the_key_the_queue_is_shown_and_health_needs_none(guarded: GatewayProcess) -> None:
    assert get(guarded, "/gex_history_queue", {"X-API-Key": KEY}).status_code == 200
    assert get(guarded, "/health").json() == {"status": "ok"}
    assert get(guarded, "/ready").status_code == 200
    assert KEY not in guarded.log


@pytest.mark.parametrize("origin", ["https://gexbot.com", "https://www.gexbot.com", "https://unusualwhales.com"])
@pytest.mark.parametrize("path", ROUTES)
def test_the_vendors_pages_may_post_from_a_browser(guarded: GatewayProcess, path: str, origin: str) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key",
        "Access-Control-Request-Private-Network": "true",
    }
    preflight = requests.options(guarded.url + path, headers=asked, timeout=30)
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == origin
    assert preflight.headers["Access-Control-Allow-Private-Network"] == "true"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert {"content-type", "x-api-key"} <= set(preflight.headers["Access-Control-Allow-Headers"].lower().split(", "))
    for answer in (post(guarded, path, b"{", origin=origin, x_api_key=KEY), post(guarded, path, b"{", origin=origin)):
        assert answer.headers["Access-Control-Allow-Origin"] == origin


def test_other_pages_may_not(gateway: GatewayProcess) -> None:
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    preflight = requests.options(f"{gateway.url}/gex", headers=asked, timeout=30)
    assert preflight.status_code == 400
    assert "Access-Control-Allow-Origin" not in preflight.headers
    assert "Access-Control-Allow-Origin" not in post(gateway, "/gex", SNAPSHOT, origin=asked["Origin"]).headers


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        *((path, body, {"x_api_key": KEY}) for path, body, _ in CAPTURES),
        *((path, body, {}) for path, body, _ in CAPTURES),
        *((path, b"{", {"x_api_key": KEY}) for path in ROUTES),
        *((path, b"", {"x_api_key": KEY}) for path in ROUTES),
        *((path, body, {"x_api_key": KEY, "content_type": "text/html"}) for path, body, _ in CAPTURES),
        ("/gex", SNAPSHOT | {"spot": "high"}, {"x_api_key": KEY}),
        ("/gex/", SNAPSHOT, {"x_api_key": KEY}),
        ("/gex?ticker=SPX", SNAPSHOT, {"x_api_key": KEY}),
    ],
)
def test_a_page_gets_the_answers_that_others_get(
    guarded: GatewayProcess, path: str, body: object, headers: dict[str, str]
) -> None:
    other = post(guarded, path, body, **headers)
    page = post(guarded, path, body, origin="https://gexbot.com", **headers)
    assert (page.status_code, page.content) == (other.status_code, other.content)
    added = {"access-control-allow-origin", "access-control-expose-headers", "vary"}
    told, told_others = ({name.lower(): text for name, text in each.headers.items()} for each in (page, other))
    assert {name: text for name, text in told.items() if name not in added | {"date"}} == {
        name: text for name, text in told_others.items() if name != "date"
    }
