"""The page's plain functions, in the browser they run in."""

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from gex_pipeline.history.judging import PUBLISHED, STAGED, STORED, Check
from gex_pipeline_tests.page.browser import visit
from gex_pipeline_tests.processes import GatewayProcess


@pytest.fixture(scope="module")
def tab(browser: Browser, gateway: GatewayProcess) -> Any:
    with visit(browser, gateway.url) as visitor:
        yield visitor.page


def call(tab: Page, module: str, function: str, *arguments: object) -> Any:
    code = f"import('/page/{module}.js').then((module) => module.{function}(...{json.dumps(arguments)}))"
    return tab.evaluate(code)


@pytest.mark.parametrize(
    ("function", "given", "shown"),
    [
        ("price", 6734.1, "6,734.10"),
        ("price", None, "\N{EN DASH}"),
        ("strike", 25197.21, "25,197.21"),
        ("strike", 6735, "6,735"),
        ("gamma", -228.01, "\N{MINUS SIGN}228"),
        ("gamma", 1712585.519, "1.713M"),
        ("signed", 51521.1, "+51.52K"),
        ("duration", 0.42, "0.4 s"),
        ("duration", 134, "2 min 14 s"),
        ("duration", 11_100, "3 h 5 min"),
        ("duration", 200_000, "2 d 7 h"),
        ("bytes", 0, "0 B"),
        ("bytes", 12_340_000_000, "12.3 GB"),
        ("newYorkTime", 1763130602000, "09:30:02"),
        ("newYorkDay", 1763096399000, "2025-11-13"),
        ("newYorkMidnight", 1763130602123, 1763096400000),
    ],
)
def test_numbers_and_times_are_written_as_traders_read_them(
    tab: Page, function: str, given: object, shown: object
) -> None:
    assert call(tab, "format", function, given) == shown


def test_a_price_has_a_place_between_strikes_and_beyond_them(tab: Page) -> None:
    ladder = [100, 105, 115]
    assert [call(tab, "scales", "placeOf", price, ladder) for price in (100, 102.5, 110, 115, 120, 95)] == [
        0, 0.5, 1.5, 2, 2.5, -1,
    ]  # fmt: skip


def test_a_single_moment_and_a_single_price_have_room_around_them(tab: Page) -> None:
    assert call(tab, "scales", "timeReach", [1000], 1000, 87_400) == [940, 1060]
    assert call(tab, "scales", "timeReach", [1000, 1001], 1000, 1001) == [881, 1001]
    assert call(tab, "scales", "timeReach", [1000, 5000], 1000, 5000) == [1000, 5000]
    assert call(tab, "scales", "priceReach", 1.25, 1.25) == [1.2, 1.3]
    assert call(tab, "scales", "priceReach", 6700, 6800) == [6692, 6808]


def test_the_shown_part_follows_the_spot_without_trembling(tab: Page) -> None:
    ladder = list(range(1000, 1200))
    first = call(tab, "scales", "shownPart", ladder, 1100, "near", None)
    assert first == {"first": 75, "last": 125}
    assert call(tab, "scales", "shownPart", ladder, 1105, "near", first) == first
    assert call(tab, "scales", "shownPart", ladder, 1110, "near", first) == {"first": 85, "last": 135}
    assert call(tab, "scales", "shownPart", ladder, 1199, "near", first) == {"first": 149, "last": 199}
    assert call(tab, "scales", "shownPart", ladder, 1100, "all", first) == {"first": 0, "last": 199}


@pytest.mark.parametrize("check", [*STAGED, *STORED, *PUBLISHED], ids=lambda check: f"{check.asset}.{check.name}")
def test_a_reason_that_names_a_check_leads_to_it(tab: Page, check: Check) -> None:
    reason = f"the last import was refused: {check.asset} {check.name}: 4 of 390"
    link = call(tab, "dagster_links", "dayLink", "http://ui", "history_file", "SPX:gex_zero", "2025-11-14", reason)
    assert link["href"] == f"http://ui/assets/{check.asset}?view=checks&checkDetail={check.name}"


@pytest.mark.parametrize("reason", [None, "", "downloading failed: 403", "the longest gap is 77 s"])
def test_any_other_reason_leads_to_the_partition(tab: Page, reason: str | None) -> None:
    link = call(tab, "dagster_links", "dayLink", "http://ui", "history_file", "SPX:gex_zero", "2025-11-14", reason)
    href = "http://ui/assets/history_file?view=partitions&partition=2025-11-14%7CSPX%3Agex_zero"
    assert link == {"href": href, "way": ""}


def test_events_are_read_however_they_are_cut(tab: Page) -> None:
    text = (
        ': still here\n\nevent: snapshot\nid: 1\ndata: {"a":\ndata: 1}\n\nevent: other\r\ndata: x\r\n\r\nevent: snap'
    )
    code = """([text, size]) => import('/page/stream.js').then(({ eventReader }) => {
        const found = [];
        const read = eventReader((name, data) => found.push([name, data]));
        for (let at = 0; at < text.length; at += size) read(text.slice(at, at + size));
        return found;
    })"""
    for size in (1, 3, 7, 1000):
        assert tab.evaluate(code, [text, size]) == [["snapshot", '{"a":\n1}'], ["other", "x"]]


def test_the_metrics_are_read_with_their_labels(tab: Page) -> None:
    text = '# HELP a b\na_total{kind="gex",other="q\\"}"} 3.0\na_total{kind="uw"} 2\nb 1e3\n'
    code = """(text) => import('/page/metrics_text.js').then(({ readMetrics, total, labelled }) => {
        const metrics = readMetrics(text);
        return [total(metrics, "a_total"), labelled(metrics, "a_total", "kind", "uw", 0),
                labelled(metrics, "a_total", "kind", "other", 0), total(metrics, "b"),
                Number.isNaN(total(metrics, "c")), metrics.get("a_total")[0].labels.other];
    })"""
    assert tab.evaluate(code, text) == [5, 2, 0, 1000, True, 'q"}']
