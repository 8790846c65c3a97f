"""What a trader sees: the newest values, soon, of the feed that was chosen."""

import re
from pathlib import Path

import requests
from playwright.sync_api import Browser, expect

from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.page.browser import visit
from gex_pipeline_tests.page.snapshots import SPX_DAY, post_one
from gex_pipeline_tests.processes import GatewayProcess, running_gateway, wait_until

ABSENT = "\N{EN DASH}"
SPX_PAGE = "/?feed=SPX:gex_zero"


def post_three(recorder: GatewayProcess, ticker: str) -> None:
    """Post three snapshots and wait until they can be queried."""
    for second in range(3):
        post_one(recorder, ticker, second)
    url = f"{recorder.url}/gex?ticker={ticker}&start=2025-01-01"
    wait_until(lambda: len(requests.get(url, timeout=10).json()) == 3, 20)


def figure(name: str) -> str:
    return f"#figures div:has(> dt:text-is('{name}')) .value"


def test_the_newest_values_are_shown_and_change_within_seconds(browser: Browser, recorder: GatewayProcess) -> None:
    post_one(recorder, "MOVES", 0)
    with visit(browser, f"{recorder.url}/?feed=MOVES:gex_zero") as trader:
        page = trader.page
        expect(page.locator(figure("Zero gamma"))).to_have_text(f"{SPX_DAY[-1]['zero_gamma']:,.2f}")
        expect(page.locator("#profile path.bar.positive")).to_have_count(2)
        expect(page.locator("#lines canvas")).to_have_count(1)
        before = page.locator("#profile path.bar.positive").first.get_attribute("d")
        strikes = [[7100, -900.5, 10, [1, 2, 3, 4, 5]], [7105, 1234.6, -20, [6, 7, 8, 9, 10]]]
        post_one(
            recorder, "MOVES", 1, spot=7103.25, zero_gamma=7101.5, sum_gex_vol=1712585.519, major_pos_vol=7105,
            delta_risk_reversal=-0.118, strikes=strikes,
        )  # fmt: skip
        expect(page.locator(figure("Spot"))).to_have_text("7,103.25", timeout=5000)
        expect(page.locator(figure("Zero gamma"))).to_have_text("7,101.50")
        expect(page.locator(figure("Net GEX, volume"))).to_have_text("+1.713M")
        expect(page.locator(figure("Delta risk reversal"))).to_have_text("\N{MINUS SIGN}0.118")
        expect(page.locator(figure("Major +"))).to_have_text("7,105")
        expect(page).to_have_title("7,103.25 MOVES gex_zero")
        assert page.locator("#profile path.bar.positive").first.get_attribute("d") != before
        expect(page.locator("#lines-readout")).to_contain_text("spot 7,103.25, zero gamma 7,101.50")
        expect(page.locator("#age")).to_contain_text(" old")
        page.locator("#profile-table summary").click()
        expect(page.locator("#profile-table tbody tr").first).to_have_text("7,1051.235K\N{MINUS SIGN}20678910")
        page.locator("#lines-table summary").click()
        expect(page.locator("#lines-table tbody tr").first).to_contain_text("7,103.25")


def test_the_session_is_asked_for_again_while_the_database_is_busy(
    browser: Browser, recorder: GatewayProcess
) -> None:
    post_three(recorder, "BUSY")
    with visit(browser, "about:blank") as trader:
        page = trader.page
        with lease(recorder.data_dir / "gex_data.db", purpose="keep readers waiting", timeout_seconds=30):
            is_refused = page.expect_response(lambda answer: "/gex?" in answer.url and answer.status == 503)
            with is_refused:
                page.goto(f"{recorder.url}/?feed=BUSY:gex_zero")
        page.locator("#lines-table summary").click()
        expect(page.locator("#lines-table tbody tr")).to_have_count(3, timeout=20_000)


def test_a_snapshot_without_strikes_is_shown_without_complaint(browser: Browser, recorder: GatewayProcess) -> None:
    post_one(recorder, "BARE", 0, strikes=[])
    with visit(browser, f"{recorder.url}/?feed=BARE:gex_zero") as trader:
        expect(trader.page.locator(figure("Spot"))).to_have_text(f"{SPX_DAY[-1]['spot']:,.2f}")
        expect(trader.page.locator("#profile svg")).to_be_visible()
        assert trader.complaints == []


def test_the_choice_is_kept_in_the_address(browser: Browser, recorder: GatewayProcess) -> None:
    with visit(browser, recorder.url) as trader:
        page = trader.page
        expect(page.locator("#feed")).to_be_enabled()
        page.select_option("#feed", "SPX:gex_zero")
        page.select_option("#priors", "4")
        page.locator("#view label", has_text="OI").click()
        expect(page.locator("#profile .title")).to_have_text("by open interest")
        assert page.url.endswith("/?feed=SPX%3Agex_zero&priors=4&view=oi")
        page.reload()
        expect(page).to_have_title(re.compile("SPX gex_zero$"))
        expect(page.locator("#profile .title")).to_have_text("by open interest")
        expect(page.locator("#priors")).to_have_value("4")
        assert page.locator("#feed").input_value() == "SPX:gex_zero"


def test_the_recorder_tells_how_it_is(browser: Browser, recorder: GatewayProcess) -> None:
    with visit(browser, recorder.url + SPX_PAGE) as trader:
        health = trader.page.locator("#health")
        expect(trader.page.locator("#state")).to_have_text("ready")
        expect(health).to_contain_text("Captures")
        expect(health.locator("div:has(> dt:text-is('Captures')) .value")).to_contain_text("/s")
        expect(health.locator("div:has(> dt:text-is('Backlog')) .note")).to_have_text("nothing waits")
        expect(health.locator("div:has(> dt:text-is('All loaded')) .value")).to_contain_text("ago")
        expect(health.locator("div:has(> dt:text-is('Queue')) .value")).to_have_text("0 open")


def test_an_empty_recorder_says_what_to_post_and_shows_it(browser: Browser, tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data") as gateway, visit(browser, gateway.url) as newcomer:
        example = newcomer.page.locator("#example")
        expect(example).to_contain_text(f"curl -s {gateway.url}/gex -H 'Content-Type: application/json'")
        expect(newcomer.page.locator("#empty")).to_contain_text("gex import PATH")
        expect(newcomer.page.locator("#empty")).to_contain_text("make demo")
        body = example.inner_text().split("-d '")[1].rstrip("'")
        sent = newcomer.context.request.post(
            f"{gateway.url}/gex", data=body, headers={"Content-Type": "application/json"}
        )
        assert sent.status == 202
        expect(newcomer.page).to_have_title("6,734.11 SPX gex_zero")
        expect(newcomer.page.locator("#empty")).to_be_hidden()


def test_what_a_damaged_database_does_not_tell_is_shown_as_absent(browser: Browser, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "gex_data.db").write_bytes(b"no database" * 1000)
    with running_gateway(data_dir) as gateway, visit(browser, gateway.url) as trader:
        health = trader.page.locator("#health")
        expect(trader.page.locator("#reasons")).to_contain_text("gex_data.db")
        queue = health.locator("div:has(> dt:text-is('Queue'))")
        expect(queue.locator(".value")).to_have_text(ABSENT)
        expect(queue.locator(".note")).to_have_text(f"{ABSENT} failed, {ABSENT} done")
        expect(trader.page.locator("#imports")).to_have_text("The database could not be read just now.")
        expect(trader.page.locator("#coverage")).to_have_text("No trading day is known yet.", timeout=60_000)
        expect(trader.page.locator("#empty")).to_be_hidden()
        expect(trader.page.locator("#waiting")).to_contain_text("What is recorded is not known")


def test_a_gateway_that_is_gone_is_said_and_found_again(browser: Browser, tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path / "data")
    gateway.start()
    try:
        post_one(gateway, "SPX", 1)
        with visit(browser, gateway.url) as trader:
            expect(trader.page).to_have_title(f"{SPX_DAY[-1]['spot']:,.2f} SPX gex_zero")
            gateway.stop()
            expect(trader.page.locator("#trouble")).to_contain_text("The gateway does not answer")
            expect(trader.page.locator("#state")).to_have_text("unreachable")
            gateway.start()
            post_one(gateway, "SPX", 100, spot=7000.5)
            expect(trader.page).to_have_title("7,000.50 SPX gex_zero", timeout=60_000)
            expect(trader.page.locator("#trouble")).to_be_hidden()
            expect(trader.page.locator("#state")).to_have_text("ready")
    finally:
        gateway.stop()
