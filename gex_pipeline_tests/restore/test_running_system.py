"""Backups made and restored while the system runs."""

import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Self

import duckdb
import requests

from gex_pipeline.backups.folder import list_backups
from gex_pipeline.settings import load_settings
from gex_pipeline_tests.processes import GatewayProcess, gex, running_gateway, wait_until


class Client:
    """Posts messages, each of them once, until it is told to stop."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.acknowledged: set[int] = set()
        self._gateway = gateway
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with requests.Session() as session:
            number = 0
            while not self._stop.wait(0.005):
                number += 1
                body = ["flow-alerts", {"id": number}]
                with suppress(requests.RequestException):
                    if session.post(f"{self._gateway.url}/uw", json=body, timeout=30).ok:
                        self.acknowledged.add(number)


def stored(gateway: GatewayProcess) -> Counter[int]:
    return Counter(number for (number,) in gateway.rows("SELECT (payload->>'id')::INTEGER FROM universal_webhooks"))


def test_the_running_system_is_backed_up_and_restored_in_place_and_loses_nothing(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data") as gateway:
        settings = load_settings(data_dir=gateway.data_dir)
        with Client(gateway) as client:
            wait_until(lambda: settings.database_path.exists() and stored(gateway), 30)
            for _ in range(3):
                loaded = len(client.acknowledged)
                wait_until(lambda loaded=loaded: len(client.acknowledged) > loaded + 50, 30)  # type: ignore[misc]
                done = gex("backup", "create", data_dir=gateway.data_dir)
                assert (done.returncode, done.stderr) == (0, "")
        gateway.wait_until_loaded()
        first = list_backups(settings.database_backups_dir)[-1]
        assert first.manifest.tables["universal_webhooks"].rows < len(client.acknowledged)
        with duckdb.connect(first.path, read_only=True) as connection:
            numbers = connection.execute("SELECT (payload->>'id')::INTEGER FROM universal_webhooks").fetchall()
        assert sorted(number for (number,) in numbers) == list(range(1, len(numbers) + 1))

        done = gex("backup", "restore", first.name, "--force", data_dir=gateway.data_dir)
        assert (done.returncode, done.stderr) == (0, "")
        # Nothing new is posted: the idle loader has to notice by itself.
        wait_until(lambda: len(stored(gateway)) == len(client.acknowledged), 30)
        assert stored(gateway) == Counter(dict.fromkeys(client.acknowledged, 1))
        assert requests.post(f"{gateway.url}/uw", json=["flow-alerts", {"id": 0}], timeout=30).ok
        wait_until(lambda: stored(gateway)[0] == 1, 30)
        kept = list(gateway.data_dir.glob("gex_data.db.*.replaced"))
        assert len(kept) == 1
        assert str(kept[0]) in done.stdout
