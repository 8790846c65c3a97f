"""What is shown of feeds that were only imported, and of feeds of which there is nothing."""

import datetime as dt
import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Route, expect

from gex_pipeline.feeds import Feed
from gex_pipeline.history.attempts import Attempt, record_attempt
from gex_pipeline.history.judging import STAGED, judge, refusals
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.page.browser import visit
from gex_pipeline_tests.page.snapshots import post_one
from gex_pipeline_tests.processes import GatewayProcess, running_gateway
from gex_pipeline_tests.records import import_records, record, stage_records

DAY_SECONDS = 86_400
BAD_RECORDS = r"/assets/staged_snapshots\?view=checks&checkDetail=bad_records"
EARLIER = Partition(Feed("NQ_NDX", "gex_zero"), dt.date(2025, 11, 13))
REFUSED = Partition(Feed("NQ_NDX", "gex_zero"), dt.date(2025, 11, 18))


def refuse(settings: Settings, partition: Partition) -> None:
    """Try to import a day of which a record is bad, as far as it gets."""
    seconds = (partition.date - dt.date(2025, 11, 14)).days * DAY_SECONDS
    stage_records(settings, record(seconds), record(seconds + 1, spot="broken"), partition=partition)
    reasons = refusals(STAGED, judge(STAGED, settings, partition))
    record_attempt(settings, Attempt.of_staged(settings, partition, "a-run"), "refused", reasons)


@pytest.fixture(scope="module")
def importer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway of two feeds that were imported, SPX a day later than NQ_NDX, of which a later day was refused."""
    settings = load_settings(data_dir=tmp_path_factory.mktemp("importer") / "data")
    import_records(settings, *(record(second, spot=6734.5 + second) for second in range(3)))
    import_records(settings, record(-DAY_SECONDS, spot=25_000.25), partition=EARLIER)
    refuse(settings, REFUSED)
    with running_gateway(settings.data_dir) as gateway:
        yield gateway


def test_feeds_that_were_only_imported_can_be_chosen_and_are_shown_with_their_newest_day(
    browser: Browser, importer: GatewayProcess
) -> None:
    with visit(browser, importer.url) as trader:
        page = trader.page
        expect(page).to_have_title("6,736.50 SPX gex_zero")
        expect(page.locator("#age")).to_have_text("stored, of Fri, 14 Nov 2025")
        expect(page.locator("#profile path.bar.positive")).to_have_count(2)
        page.locator("#lines-table summary").click()
        expect(page.locator("#lines-table tbody tr")).to_have_count(3)
        expect(page.locator("#coverage a[data-key='SPX:gex_zero|2025-11-14']")).to_have_count(1)
        page.select_option("#feed", EARLIER.feed.key)
        expect(page).to_have_title("25,000.25 NQ_NDX gex_zero")
        expect(page.locator("#age")).to_have_text("stored, of Thu, 13 Nov 2025")
        page.reload()
        expect(page).to_have_title("25,000.25 NQ_NDX gex_zero")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert trader.complaints == []


def test_a_feed_that_is_not_known_is_said_and_shown_as_soon_as_it_comes(
    browser: Browser, importer: GatewayProcess
) -> None:
    with visit(browser, f"{importer.url}/?feed=RUT:gex_full") as trader:
        page = trader.page
        expect(page.locator("#unknown h2")).to_have_text("Nothing of RUT:gex_full is recorded")
        expect(page.locator("#unknown a")).to_have_text(["NQ_NDX:gex_zero", "SPX:gex_zero"])
        expect(page.locator("#figures")).to_be_hidden()
        assert page.url.endswith("/?feed=RUT:gex_full")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        post_one(importer, "RUT", 0, endpoint="gex_full")
        expect(page.locator("#feed")).to_have_value("RUT:gex_full")
        expect(page.locator("#figures")).to_be_visible()
        expect(page.locator("#unknown")).to_be_hidden()


def test_what_was_imported_since_the_gateway_last_looked_is_asked_for_again(
    browser: Browser, importer: GatewayProcess
) -> None:
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(json={}, headers={"x-gex-as-of": "1763150645000"})
        else:
            route.fallback()

    with visit(browser, "about:blank") as trader:
        trader.page.route("**/page/feeds", answer)
        trader.page.goto(f"{importer.url}/?feed=SPX:gex_zero")
        expect(trader.page).to_have_title("6,736.50 SPX gex_zero")
        assert len(asked) > 1


def test_a_refused_day_leads_to_the_check_that_stopped_it_and_an_imported_one_to_its_rows(
    browser: Browser, importer: GatewayProcess
) -> None:
    with visit(browser, importer.url) as trader:
        page, day = trader.page, f"{REFUSED.feed.key}|{REFUSED.date}"
        square = page.locator(f"#coverage a[data-key='{day}']")
        expect(square).to_have_attribute("href", re.compile(f"^http://127.0.0.1:3000{BAD_RECORDS}$"))
        expect(square).to_have_attribute("aria-label", re.compile(f"In Dagster: Partitions, {REFUSED.date}, "))
        refused = page.locator("#imports li", has_text="refused")
        expect(refused.locator("a")).to_have_attribute("href", re.compile(BAD_RECORDS + "$"))
        expect(refused.locator(".note")).to_contain_text("1 of 2 records are bad")
        imported = page.locator("#imports li", has_text="SPX:gex_zero 2025-11-14").locator("a")
        partition = "view=partitions&partition=2025-11-14%7CSPX%3Agex_zero"
        expect(imported).to_have_attribute("href", f"http://127.0.0.1:3000/assets/gex_snapshots?{partition}")
        complete = page.locator("#coverage a[data-key='SPX:gex_zero|2025-11-14']")
        expect(complete).to_have_attribute("href", f"http://127.0.0.1:3000/assets/strikes_parquet?{partition}")


def test_the_calendar_ends_with_the_newest_day_captured_imported_or_tried(
    browser: Browser, importer: GatewayProcess
) -> None:
    post_one(importer, "OLD", -30 * DAY_SECONDS)
    with visit(browser, f"{importer.url}/?feed=OLD:gex_zero") as trader:
        coverage = trader.page.locator("#coverage")
        expect(coverage.locator("a[data-key='SPX:gex_zero|2025-11-14']")).to_have_count(1)
        expect(coverage.locator(f"a[data-key='{REFUSED.feed.key}|{REFUSED.date}']")).to_have_count(1)
        expect(coverage.locator("th.day").last).to_contain_text(str(REFUSED.date))
