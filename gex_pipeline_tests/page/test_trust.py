"""Whom the page trusts: the key goes to the gateway alone, nobody else is asked, and text is only ever text."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Route, expect

from gex_pipeline_tests.gateway_requests import KEY, get
from gex_pipeline_tests.page.browser import visit
from gex_pipeline_tests.page.snapshots import post_session
from gex_pipeline_tests.processes import GatewayProcess, running_gateway

HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running_gateway(tmp_path_factory.mktemp("locked") / "data", GEX_API_KEY=KEY) as gateway:
        post_session(gateway, X_API_Key=KEY)
        yield gateway


def test_nothing_is_complained_of_and_nobody_else_is_asked(browser: Browser, recorder: GatewayProcess) -> None:
    with visit(browser, recorder.url) as trader:
        expect(trader.page.locator("#state")).to_have_text("ready")
        expect(trader.page.locator("#coverage a").first).to_be_visible(timeout=60_000)
        trader.page.select_option("#feed", "SPX:gex_zero")
        expect(trader.page.locator("#lines canvas")).to_have_count(1)
        assert trader.complaints == []
        assert trader.hosts == {recorder.url.removeprefix("http://")}


def test_the_key_is_asked_for_once_and_goes_only_into_a_header(browser: Browser, locked: GatewayProcess) -> None:
    with visit(browser, locked.url) as trader:
        page = trader.page
        sent = trader.requests
        expect(page.locator("#key-form")).to_be_visible()
        expect(page.locator("#charts")).to_be_hidden()
        assert trader.complaints == []
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.fill("#key", "another-key")
        page.keyboard.press("Enter")
        expect(page.locator("#key-wrong")).to_be_visible()
        page.fill("#key", KEY)
        page.keyboard.press("Enter")
        expect(page.locator("#profile svg")).to_be_visible()
        expect(page.locator("#state")).to_have_text("ready")
        page.reload()
        expect(page.locator("#profile svg")).to_be_visible()
        expect(page.locator("#key-form")).to_be_hidden()
        assert [each.url for each in sent if KEY in each.url] == []
        assert KEY not in page.content()
        assert [each.url for each in sent if each.headers.get("x-api-key") == KEY]
        assert page.evaluate("document.cookie + JSON.stringify(localStorage)").find(KEY) == -1
        assert page.evaluate("sessionStorage.getItem('gex-api-key')") == KEY


def test_hostile_names_and_errors_are_shown_as_text(browser: Browser, recorder: GatewayProcess) -> None:
    def rename(route: Route) -> None:
        [entry] = get(recorder, "/gex/latest?ticker=SPX").json()
        route.fulfill(json=[entry | {"ticker": HOSTILE}])

    line = {"record_type": "history", "ticker": HOSTILE, "endpoint": HOSTILE, "date": HOSTILE, "status": HOSTILE,
            "errors": HOSTILE, "run_id": HOSTILE, "source_file": HOSTILE, "import_timestamp": 0}  # fmt: skip
    day = {"feed": HOSTILE, "date": "2025-11-13", "state": HOSTILE, "snapshots": 1, "detail": HOSTILE}
    with visit(browser, "about:blank") as trader:
        page = trader.page
        page.route("**/gex/latest*", rename)
        page.route("**/lineage?*", lambda route: route.fulfill(json=[line]))
        page.route("**/coverage?*", lambda route: route.fulfill(json=[day]))
        page.goto(f"{recorder.url}/?feed={HOSTILE}:gex_zero&view={HOSTILE}&priors={HOSTILE}")
        expect(page.locator("#feed option").filter(has_text=HOSTILE)).to_have_text(f"{HOSTILE}:gex_zero")
        expect(page.locator("#imports .mark")).to_have_text(HOSTILE)
        expect(page.locator("#coverage th[scope=row]")).to_have_text(HOSTILE)
        assert HOSTILE in page.title()
        page.goto(f"{recorder.url}/?feed={HOSTILE}")
        expect(page.locator("#unknown h2")).to_have_text(f"Nothing of {HOSTILE} is recorded")
        assert page.locator("img").count() == 0
