"""Pictures of the Dagster UI for the README: a backfill, the check of its damaged day, and the coverage calendar.

`python -m gex_pipeline_tests.page.dagster_screenshots` takes them again, in some minutes.
"""

import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser

from gex_pipeline.bench.backfill_bench import launch_backfill, run_statuses, running_system
from gex_pipeline.clock import epoch_ms
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.demo.sessions import Session, write_history_file
from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import load_settings
from gex_pipeline.trading_days import sessions_before
from gex_pipeline_tests.history_import.world import spoiling
from gex_pipeline_tests.page.browser import running_browser, visit
from gex_pipeline_tests.processes import clean_environment

IMAGES = Path(__file__).parents[2] / "docs" / "images"
FEEDS = (Feed("NQ_NDX", "gex_zero"), Feed("SPX", "gex_zero"))
DAYS, BACKFILLED, DAMAGED = 22, 10, 6
SHORT, ABSENT, UNPUBLISHED = {9, 16}, {5, 12, 19}, 22
SNAPSHOTS, CADENCE_SECONDS = 390, 60.0
PATIENCE_MS, SETTLED_MS, RUN_SECONDS = 60_000, 4_000, 600.0
WIDE = {"width": 1400, "height": 900}
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


def partitions() -> tuple[list[Partition], list[Partition]]:
    """Return what the backfill is of, the last days of the first feed, and all days and feeds before."""
    days = sessions_before(epoch_ms() - 86_400_000, DAYS)
    backfilled = [Partition(FEEDS[0], day) for day in days[-BACKFILLED:]]
    before = [Partition(feed, day) for day, feed in product(days[:-BACKFILLED], FEEDS)]
    return backfilled, before


def write_file(folder: Path, partition: Partition, *, snapshots: int = SNAPSHOTS, is_damaged: bool = False) -> None:
    """Write one small history file, of a session that ends early if it is short."""
    feed, date = partition.feed, partition.date
    session = Session(feed=feed, date=date, snapshots=snapshots, cadence_seconds=CADENCE_SECONDS, strikes=10)
    path = folder / f"{date}_{feed.ticker}_classic_{feed.endpoint}.json"
    write_history_file(path, session, damage=spoiling(40, 41, 42, 43) if is_damaged else None)


def gex(folder: Path, *arguments: str) -> None:
    """Run a command on the recorder's data."""
    command = [sys.executable, "-m", "gex_pipeline.cli", *arguments]
    subprocess.run(command, env=clean_environment() | {"GEX_DATA_DIR": str(folder / "data")}, cwd=folder, check=False)


def record_before(folder: Path, before: list[Partition]) -> None:
    """Import weeks of days, some short, some missing, one without Parquet."""
    files = folder / "before"
    files.mkdir()
    for number, partition in enumerate(before):
        if number not in ABSENT:
            write_file(files, partition, snapshots=SNAPSHOTS // 2 if number in SHORT else SNAPSHOTS)
    gex(folder, "import", str(files))
    settings = load_settings(data_dir=folder / "data")
    for table in ("snapshots", "strikes"):
        before[UNPUBLISHED].published(settings, table).unlink()


def audit(folder: Path) -> None:
    """Materialize the asset `coverage`."""
    dagster = str(Path(sys.executable).parent / "dagster")
    environment = clean_environment() | {
        "GEX_DATA_DIR": str(folder / "data"),
        "DAGSTER_HOME": str(folder / "data" / "dagster"),
    }
    command = [dagster, "job", "execute", "-m", "gex_pipeline.definitions", "-j", "integrity_audit"]
    subprocess.run(command, env=environment, cwd=folder, check=True)


def backfill(graphql: str, backfilled: list[Partition]) -> str:
    """Run a backfill to its end and return its id."""
    backfill_id = launch_backfill(graphql, [each.key for each in backfilled])
    deadline = time.monotonic() + RUN_SECONDS
    while len(ended := run_statuses(graphql, backfill_id)) < len(backfilled) or not ENDED.issuperset(ended):
        assert time.monotonic() < deadline
        time.sleep(2)
    assert sorted(ended) == ["FAILURE", *["SUCCESS"] * (len(backfilled) - 1)]
    return backfill_id


def photograph(browser: Browser, url: str, name: str, *, shows: str, click: str | None = None) -> None:
    """Take a picture of a page of the UI once it shows a text, after a click on another one."""
    with visit(browser, url, viewport=WIDE, color_scheme="light") as visitor:
        if click is not None:
            visitor.page.get_by_text(click).first.click(timeout=PATIENCE_MS)
        visitor.page.get_by_text(shows).first.wait_for(timeout=PATIENCE_MS)
        visitor.page.wait_for_timeout(SETTLED_MS)
        visitor.page.screenshot(path=IMAGES / f"{name}.png")


def main() -> None:
    """Record weeks of history, backfill the last days, and look at them."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        backfilled, before = partitions()
        files = folder / "gexbot"
        files.mkdir()
        for number, partition in enumerate(backfilled):
            write_file(files, partition, is_damaged=number == DAMAGED)
        record_before(folder, before)
        with GexBotStandIn(files) as gexbot, running_system(folder, gexbot, print) as graphql:
            ui = graphql.removesuffix("/graphql")
            backfill_id = backfill(graphql, backfilled)
            audit(folder)
            with running_browser() as browser:
                photograph(browser, f"{ui}/runs/b/{backfill_id}", "backfill", shows="staged_snapshots")
                check = "view=checks&checkDetail=bad_records"
                photograph(browser, f"{ui}/assets/staged_snapshots?{check}", "check", shows="bad_records")
                photograph(browser, f"{ui}/assets/coverage", "coverage", shows="complete", click="Show Markdown")


if __name__ == "__main__":
    main()
