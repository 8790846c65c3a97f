"""Silence during a session is a warning; before and after it the page says when the exchange opens."""

import datetime as dt
from pathlib import Path

from playwright.sync_api import Browser, expect

from gex_pipeline.trading_days import NEW_YORK
from gex_pipeline_tests.alerts.faster_clock import faster_clock
from gex_pipeline_tests.gateway_requests import get
from gex_pipeline_tests.page.browser import PHONE, visit
from gex_pipeline_tests.page.snapshots import post_one
from gex_pipeline_tests.processes import running_gateway

# Thanksgiving is the day after, then comes a half day and a weekend.
WEDNESDAY = dt.datetime(2025, 11, 26, 12, tzinfo=NEW_YORK)


STALE, CLOSED = "stale: nothing for", "session closed"
MOMENTS = [
    (dt.datetime(2025, 11, 26, 12, 3, tzinfo=NEW_YORK), f"{STALE} 3 min 0 s"),
    (dt.datetime(2025, 11, 26, 15, 59, 50, tzinfo=NEW_YORK), f"{STALE} 3 h 59 min"),
    (dt.datetime(2025, 11, 26, 16, 0, tzinfo=NEW_YORK), f"{CLOSED} Wed 16:00, next opens Fri 09:30 New York"),
    (dt.datetime(2025, 11, 28, 9, 29, tzinfo=NEW_YORK), f"{CLOSED} Wed 16:00, next opens Fri 09:30 New York"),
    (dt.datetime(2025, 11, 28, 9, 31, tzinfo=NEW_YORK), f"{STALE} 1 d 21 h"),
    (dt.datetime(2025, 11, 28, 13, 0, tzinfo=NEW_YORK), f"{CLOSED} Fri 13:00, next opens Mon 09:30 New York"),
]


def test_silence_is_stale_during_a_session_and_the_session_is_called_closed_after_it(
    browser: Browser, tmp_path: Path
) -> None:
    clock = faster_clock(tmp_path / "clock", WEDNESDAY, 1)
    with (
        running_gateway(tmp_path / "data", **clock) as gateway,
        visit(browser, "about:blank", viewport=PHONE) as trader,
    ):
        post_one(gateway, "SPX", 0)
        page, age = trader.page, trader.page.locator("#age")
        page.clock.install(time=WEDNESDAY + dt.timedelta(seconds=5))
        with page.expect_response("**/page/sessions"):
            page.goto(gateway.url)
        expect(age).to_contain_text(" old")
        for moment, text in MOMENTS:
            page.clock.set_system_time(moment)
            expect(age).to_contain_text(text.removesuffix("3 min 0 s"))
            expect(age).to_have_class("pill warn" if text.startswith(STALE) else "pill ")
            assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_the_calendar_is_asked_by_another_process_which_is_not_waited_for_twice(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data", **faster_clock(tmp_path / "clock", WEDNESDAY, 1)) as gateway:
        first, again = (get(gateway, "/page/sessions") for _ in range(2))
        assert first.json()[:3] == [[1764081000000, 1764104400000], [1764167400000, 1764190800000],
                                    [1764340200000, 1764352800000]]  # fmt: skip
        assert again.json() == first.json()
        assert again.elapsed < first.elapsed / 5
        assert "pandas" not in Path(f"/proc/{gateway.process_id}/maps").read_text()


def test_what_comes_in_after_the_close_is_as_new_as_ever(browser: Browser, tmp_path: Path) -> None:
    evening = WEDNESDAY.replace(hour=18)
    with running_gateway(tmp_path / "data", **faster_clock(tmp_path / "clock", evening, 1)) as gateway:
        post_one(gateway, "SPX", 0)
        with visit(browser, "about:blank") as trader:
            trader.page.clock.install(time=evening + dt.timedelta(seconds=5))
            trader.page.goto(gateway.url)
            expect(trader.page.locator("#age")).to_contain_text(" old")
            expect(trader.page.locator("#age")).to_have_class("pill good")
