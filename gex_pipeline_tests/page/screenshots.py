"""Pictures of the page for the README, taken from a running recorder.

`python -m gex_pipeline_tests.page.screenshots` takes them again, in some minutes.
"""

import datetime as dt
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, FloatRect, Page, expect

from gex_pipeline.demo.sessions import Session, snapshots, write_history_file
from gex_pipeline.feeds import Feed
from gex_pipeline.trading_days import trading_days
from gex_pipeline_tests.gateway_requests import post
from gex_pipeline_tests.page.browser import PHONE, running_browser, visit
from gex_pipeline_tests.processes import GatewayProcess, clean_environment, running_gateway

IMAGES = Path(__file__).parents[2] / "docs" / "images"
TODAY = dt.date(2025, 11, 14)
LIVE = (
    Session(feed=Feed("SPX", "gex_zero"), date=TODAY, snapshots=1_800, cadence_seconds=8, strikes=60, seed=11),
    Session(feed=Feed("NQ_NDX", "gex_zero"), date=TODAY, snapshots=60, cadence_seconds=8, strikes=90, seed=2),
)
RECORDED = ("NQ_NDX:gex_zero", "SPX:gex_zero")
SHORT_DAYS, NO_DAYS = {7, 23}, {10, 16}
WIDE = {"width": 1240, "height": 1010}
# What a picture ends with: all of the page, or on a phone what is seen first.
LAST_PARTS, MARGIN = {"page-phone": "#profile-card"}, 8
PICTURES: dict[str, dict[str, Any]] = {
    "page-light": {"viewport": WIDE, "color_scheme": "light"},
    "page-dark": {"viewport": WIDE, "color_scheme": "dark"},
    "page-phone": {"viewport": PHONE | {"height": 900}, "color_scheme": "light"},
}


def write_days(folder: Path) -> None:
    """Write some weeks of small history files, some short, some missing."""
    days = trading_days(TODAY - dt.timedelta(days=18), TODAY - dt.timedelta(days=1))
    for number, (day, key) in enumerate((day, key) for day in days for key in RECORDED):
        feed = Feed.parse(key)
        count = 1_100 if number in SHORT_DAYS else 2_340
        if number not in NO_DAYS:
            session = Session(feed=feed, date=day, snapshots=count, cadence_seconds=10, strikes=3)
            write_history_file(folder / f"{day}_{feed.ticker}_classic_{feed.endpoint}.json", session)


def record(gateway: GatewayProcess) -> None:
    """Post half a session of each live feed, all but the end."""
    for session in LIVE:
        for snapshot in islice(snapshots(session), session.snapshots - 10):
            assert post(gateway, "/gex", snapshot | {"endpoint": session.feed.endpoint}).ok


def photograph(browser: Browser, gateway: GatewayProcess) -> None:
    """Take each picture while the session goes on."""
    following = islice(snapshots(LIVE[0]), LIVE[0].snapshots - 10, None)
    for (name, options), snapshot in zip(PICTURES.items(), following, strict=False):
        with visit(browser, f"{gateway.url}/?feed=SPX:gex_zero", **options) as trader:
            page = trader.page
            expect(page.locator("#coverage a").first).to_be_visible(timeout=120_000)
            expect(page.locator("#imports li")).to_have_count(6)
            page.wait_for_timeout(4_500)  # until captures per second are known
            assert post(gateway, "/gex", snapshot).ok
            page.wait_for_timeout(700)
            page.screenshot(path=IMAGES / f"{name}.png", full_page=True, clip=shown_part(page, name))


def shown_part(page: Page, name: str) -> FloatRect:
    """Return the page from its top to the end of the last part that a picture shows, none of them cut off."""
    box = page.locator(LAST_PARTS.get(name, "#records")).bounding_box()
    assert box is not None
    return {"x": 0, "y": 0, "width": page.evaluate("innerWidth"), "height": box["y"] + box["height"] + MARGIN}


def main() -> None:
    """Record days of history and half a session, and look at them."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        files, data_dir = Path(scratch) / "files", Path(scratch) / "data"
        files.mkdir()
        write_days(files)
        command = [sys.executable, "-m", "gex_pipeline.cli", "import", str(files), "--data-dir", str(data_dir)]
        subprocess.run(command, env=clean_environment(), cwd=scratch, check=True)
        with running_gateway(data_dir) as gateway, running_browser() as browser:
            record(gateway)
            gateway.wait_until_loaded(60)
            photograph(browser, gateway)


if __name__ == "__main__":
    main()
