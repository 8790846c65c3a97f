"""A full disk, a real one, under a running gateway: captures are refused until there is room, and none is lost."""

from pathlib import Path

import requests

from gex_pipeline_tests.processes import GatewayProcess, wait_until
from gex_pipeline_tests.small_disk import fill, free, small_disk

SIZE_BYTES = 48 * 1024**2
TEXT = "x" * 20_000

_running: list[GatewayProcess] = []


# What runs in the process that sees the disk


def begin(folder: Path) -> str:
    gateway = GatewayProcess(folder / "data")
    gateway.log_path = folder.parent / "gateway.log"
    gateway.start()
    _running.append(gateway)
    return gateway.url


def end() -> int:
    return _running[0].stop()


def stored() -> list[int]:
    rows = _running[0].rows("SELECT (payload->>'number')::INT FROM universal_webhooks ORDER BY ALL")
    return [number for (number,) in rows]


# The test


def test_a_full_disk_refuses_captures_loses_none_and_recovers_by_itself(tmp_path: Path) -> None:
    def post(number: int) -> requests.Response:
        return requests.post(f"{url}/uw", json=["alerts", {"number": number, "text": TEXT}], timeout=30)

    def checks() -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = requests.get(f"{url}/ready", timeout=10).json()["checks"]
        return found

    with small_disk(tmp_path / "disk", SIZE_BYTES) as small:
        url = small.run(begin, small.folder)
        try:
            wait_until(lambda: checks()["loader"]["ok"], 30)
            taken = [0] if post(0).ok else []
            for round_ in (1, 2):
                small.run(fill, small.folder, 400_000)
                refused = 0
                for number in range(1000 * round_, 1000 * round_ + 60):
                    answer = post(number)
                    if answer.ok:
                        taken.append(number)
                        continue
                    refused += 1
                    assert answer.status_code == 503
                    assert int(answer.headers["Retry-After"]) > 0
                    assert "No space left on device" in answer.text
                assert refused
                assert checks()["journal"]["error"] == "No space left on device"
                small.run(free, small.folder)
                wait_until(lambda: post(round_).ok, 30)  # noqa: B023 - called in this round
                taken.append(round_)
            wait_until(lambda: checks()["backlog"]["bytes"] == 0, 60)
            assert small.run(stored) == sorted(taken)
        finally:
            assert small.run(end) == 0
