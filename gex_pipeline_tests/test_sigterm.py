"""A gateway that is told to stop under load: whoever it took a request from gets an answer, and it is kept."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import requests

from gex_pipeline_tests.processes import GatewayProcess, running_gateway, wait_until

CLIENTS = 8
FIRST_MS = 1_763_130_600_000


@dataclass
class Client:
    """Posts on a connection that stays open until nobody takes a new one."""

    name: str
    answered: list[int] = field(default_factory=list)
    cut_off: list[str] = field(default_factory=list)

    def run(self, gateway: GatewayProcess) -> None:
        with requests.Session() as session:
            while not self.cut_off:
                number = len(self.answered)
                body = {"timestamp": FIRST_MS + number, "ticker": self.name, "spot": 1, "strikes": [[6890, 1, 2]]}
                try:
                    answer = session.post(f"{gateway.url}/gex", json=body, timeout=30)
                except requests.ConnectionError as error:
                    if "NewConnectionError" not in repr(error):
                        self.cut_off.append(repr(error))
                    return
                if answer.status_code != 202:
                    self.cut_off.append(answer.text)
                self.answered.append(number)


def test_every_request_that_was_taken_is_answered_and_stored_when_the_gateway_is_told_to_stop(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data") as gateway, ThreadPoolExecutor(CLIENTS) as pool:
        wait_until(lambda: gateway.ready()["status"] == "ready", 20)
        clients = [Client(f"T{number}") for number in range(CLIENTS)]
        running = [pool.submit(client.run, gateway) for client in clients]
        wait_until(lambda: all(len(client.answered) > 20 for client in clients), 30)
        assert gateway.stop() == 0
        for each in running:
            each.result(timeout=30)
        assert [client.cut_off for client in clients] == [[]] * CLIENTS
        expected = [(client.name, len(client.answered)) for client in clients]
        stored = "SELECT ticker, count(*) FROM gex_snapshots GROUP BY ticker ORDER BY ticker"
        assert gateway.rows(stored) == expected


def test_an_idle_connection_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data") as gateway, requests.Session() as session:
        assert session.get(f"{gateway.url}/health", timeout=10).ok
        ended = threading.Thread(target=gateway.stop)
        ended.start()
        ended.join(8)
        assert not ended.is_alive()
