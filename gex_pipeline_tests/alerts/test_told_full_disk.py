"""A disk, a real one, that fills up under a running gateway: told as nearly full, and then as refusing captures."""

from pathlib import Path

import requests

from gex_pipeline_tests.alerts.test_told_for_real import KEY, SOON, alert, over
from gex_pipeline_tests.inboxes import open_inbox
from gex_pipeline_tests.processes import GatewayProcess, wait_until
from gex_pipeline_tests.small_disk import fill, free, small_disk

SIZE_BYTES = 48 * 1024**2

_running: list[GatewayProcess] = []


# What runs in the process that sees the disk


def begin(folder: Path, address: str) -> str:
    gateway = GatewayProcess(folder / "data", GEX_NOTIFY_URLS=address, GEX_DISK_LOW_GB="0.01", GEX_API_KEY=KEY)
    gateway.log_path = folder.parent / "gateway.log"
    gateway.start()
    _running.append(gateway)
    return gateway.url


def end() -> int:
    return _running[0].stop()


# The test


def test_a_disk_that_fills_up_is_told_and_so_are_the_captures_it_refuses(tmp_path: Path) -> None:
    def post(number: int) -> int:
        message = ["alerts", {"number": number, "text": "x" * 50_000}]
        return requests.post(f"{url}/uw", json=message, headers={"X-API-Key": KEY}, timeout=30).status_code

    with open_inbox() as inbox, small_disk(tmp_path / "disk", SIZE_BYTES) as small:
        url = small.run(begin, small.folder, inbox.address)
        try:
            wait_until(lambda: post(0) == 200, SOON)
            small.run(fill, small.folder, 8_000_000)
            wait_until(lambda: inbox.titles == [alert("disk")], SOON)
            small.run(fill, small.folder, 0)
            wait_until(lambda: post(1) == 503, SOON)
            wait_until(lambda: inbox.titles == [alert("disk"), alert("journal")], SOON)
            assert inbox.text_of(alert("journal")).startswith("No space left on device\n")
            small.run(free, small.folder)
            wait_until(lambda: inbox.titles[2:] == [over("disk")], SOON)
            assert post(2) == 200
            wait_until(lambda: inbox.titles[2:] == [over("disk"), over("journal")], SOON)
        finally:
            assert small.run(end) == 0
