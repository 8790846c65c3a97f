"""How it looks and how it is used: by eye, by keyboard, by ear, on a phone."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from gex_pipeline_tests.page.browser import DESKTOP, PHONE, visit
from gex_pipeline_tests.page.snapshots import SPX_DAY, post_one
from gex_pipeline_tests.processes import GatewayProcess

# How many pixels of a colour a picture has in the tenth of its width that ends in the middle.
COLOURED_NEAR_THE_MIDDLE = """(canvas, [red, green, blue]) => {
    const { data } = canvas.getContext("2d").getImageData(canvas.width * 0.4, 0, canvas.width * 0.1, canvas.height);
    let found = 0;
    for (let at = 0; at < data.length; at += 4) {
        found += data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3] === 255;
    }
    return found;
}"""
SPX_PAGE = "/?feed=SPX:gex_zero"


def background(page: Page) -> str:
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


def wait_for_everything(page: Page) -> None:
    expect(page.locator("#profile svg")).to_be_visible()
    expect(page.locator("#state")).to_have_text("ready")
    expect(page.locator("#imports > *")).to_have_count(1)
    expect(page.locator("#coverage a").first).to_be_visible(timeout=60_000)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it_and_nothing_sticks_out(
    browser: Browser, recorder: GatewayProcess, size: dict[str, int], scheme: str
) -> None:
    with visit(browser, recorder.url + SPX_PAGE, viewport=size, color_scheme=scheme) as trader:
        wait_for_everything(trader.page)
        assert (background(trader.page) == "rgb(11, 15, 20)") == (scheme == "dark")
        found = Axe().run(trader.page)
        assert found.violations_count == 0, found.generate_report()
        for name in ("volume", "oi", "both"):
            trader.page.locator(f"#view label:has([value={name}])").click()
            assert trader.page.evaluate("document.documentElement.scrollWidth") == size["width"]


def test_the_scheme_can_be_chosen_and_stays(browser: Browser, recorder: GatewayProcess) -> None:
    with visit(browser, recorder.url, color_scheme="dark") as trader:
        page = trader.page
        dark = background(page)
        page.get_by_role("button", name="Dark", pressed=True).click()
        assert background(page) != dark
        page.reload()
        assert background(page) != dark
        page.get_by_role("button", name="Dark", pressed=False).click()
        assert background(page) == dark


def test_all_of_it_can_be_used_by_keyboard(browser: Browser, recorder: GatewayProcess) -> None:
    with visit(browser, recorder.url + SPX_PAGE) as trader:
        page = trader.page
        wait_for_everything(page)
        reached = []
        for _ in range(9):
            page.keyboard.press("Tab")
            focused = page.locator(":focus")
            reached.append(focused.get_attribute("id") or focused.get_attribute("name"))
            shown = focused if reached[-1] != "view" else focused.locator("+ span")
            assert shown.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
            if reached[-1] == "view":
                page.keyboard.press("ArrowLeft")
            elif reached[-1] == "profile":
                break
        assert reached == ["feed", "theme", "view", "strikes", "priors", "profile"]
        expect(page.locator("#profile .title")).to_have_text("by open interest")
        page.keyboard.press("End")
        highest = page.locator("#profile").get_attribute("aria-valuetext") or ""
        page.keyboard.press("ArrowDown")
        below = page.locator("#profile").get_attribute("aria-valuetext") or ""
        strikes = [float(text.split(":")[0].replace(",", "")) for text in (highest, below)]
        assert strikes[0] - strikes[1] == 5
        assert "OI" in below
        assert "1 min" in below


def test_the_charts_say_what_they_show(browser: Browser, recorder: GatewayProcess) -> None:
    with visit(browser, recorder.url + SPX_PAGE) as trader:
        lines = trader.page.get_by_role("img", name="Spot and zero gamma from 09:30:01 to 09:31:30 New York")
        expect(lines).to_have_count(1)
        assert f"zero gamma {SPX_DAY[-1]['zero_gamma']:,.2f}" in (lines.get_attribute("aria-label") or "")
        expect(trader.page.get_by_role("slider", name="Strike")).to_be_visible()


def test_a_single_snapshot_is_a_dot_in_the_middle_of_its_minutes(browser: Browser, recorder: GatewayProcess) -> None:
    post_one(recorder, "LONELY", 0)
    with visit(browser, f"{recorder.url}/?feed=LONELY:gex_zero", color_scheme="light") as trader:
        expect(trader.page.locator("#lines-readout")).to_contain_text("09:31:30")
        lines = trader.page.locator("#lines canvas")
        assert lines.evaluate(COLOURED_NEAR_THE_MIDDLE, [155, 47, 143]) > 20
        assert lines.evaluate(COLOURED_NEAR_THE_MIDDLE, [19, 26, 34]) > 20


def test_old_coverage_is_shown_with_the_time_it_is_of(browser: Browser, recorder: GatewayProcess) -> None:
    def answer(route: Route) -> None:
        route.fulfill(response=(found := route.fetch()), headers=found.headers | {"x-gex-as-of": "1763150645000"})

    with visit(browser, "about:blank") as trader:
        page = trader.page
        page.route("**/coverage?*", answer)
        page.goto(recorder.url + SPX_PAGE)
        expect(page.locator("#coverage-as-of")).to_have_text("as of 15:04:05 New York", timeout=60_000)
        page.unroute("**/coverage?*")
        page.reload()
        expect(page.locator("#coverage a").first).to_be_visible()
        expect(page.locator("#coverage-as-of")).to_have_text("")


def test_who_wants_no_motion_gets_none(browser: Browser, recorder: GatewayProcess) -> None:
    durations = []
    for wish in ("no-preference", "reduce"):
        with visit(browser, recorder.url, reduced_motion=wish) as trader:
            durations.append(
                trader.page.evaluate("getComputedStyle(document.querySelector('.pill')).transitionDuration")
            )
    assert [duration.split(",")[0] for duration in durations] == ["0.2s", "0s"]
