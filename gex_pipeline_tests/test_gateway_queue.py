"""What becomes of announced history files."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.gateway_requests import MESSAGE, get, post
from gex_pipeline_tests.processes import GatewayProcess


def test_an_announced_file_is_in_the_queue_before_and_after_it_is_loaded(gateway: GatewayProcess) -> None:
    assert post(gateway, "/uw", MESSAGE).ok  # so that there is a database
    gateway.wait_until_loaded()
    loader = gateway.loader_id()
    assert loader is not None
    os.kill(loader, signal.SIGSTOP)
    try:
        announced = post(
            gateway, "/gex_history_url", {"url": "https://hist.gex.bot/2025-07-01_QUEUED_classic.json"}
        ).json()
        key = announced["id"]
        before = get(gateway, f"/gex_history_queue/{key}").json()
        assert before in get(gateway, "/gex_history_queue").json()
        assert gateway.rows(f"FROM gex_history_queue WHERE id = {key}") == []
    finally:
        os.kill(loader, signal.SIGCONT)
    gateway.wait_until_loaded()
    after = get(gateway, f"/gex_history_queue/{key}").json()
    assert after in get(gateway, "/gex_history_queue").json()
    for shown in (before, after):
        known = {name: announced[name] for name in ("id", "ticker", "endpoint", "date")}
        assert shown | known | {"status": "pending"} == shown


def test_the_queue_shows_what_became_of_files_that_were_announced_together(gateway: GatewayProcess) -> None:
    urls = [f"https://hist.gex.bot/2025-06-{day:02d}_DONE_classic.json" for day in range(1, 31)]
    with ThreadPoolExecutor(15) as clients:
        answers = clients.map(lambda url: post(gateway, "/gex_history_url", {"url": url}).json(), urls)
        keys = {answer["id"] for answer in answers}
    gateway.wait_until_loaded()
    with lease(gateway.data_dir / "gex_data.db", purpose="import") as connection:
        connection.execute("UPDATE gex_history_queue SET status = 'completed' WHERE ticker = 'DONE'")
    shown = [each["status"] for each in get(gateway, "/gex_history_queue").json() if each["id"] in keys]
    assert shown == ["completed"] * len(urls)


def test_the_same_file_announced_again_keeps_its_id_and_is_one_row_with_the_fresh_url(
    gateway: GatewayProcess,
) -> None:
    url = "https://hist.gex.bot/2025-07-02_AGAIN_classic_gex_one.json?sig="
    ids = [post(gateway, "/gex_history_url", {"url": f"{url}{number}"}).json()["id"] for number in range(3)]
    assert len(set(ids)) == 1
    gateway.wait_until_loaded()
    found = gateway.rows("SELECT id, url, announced, status FROM gex_history_queue WHERE ticker = 'AGAIN'")
    assert found == [(ids[0], f"{url}2", 3, "pending")]
    assert [each["id"] for each in get(gateway, "/gex_history_queue").json()].count(ids[0]) == 1


def test_requests_that_are_not_loaded_yet_are_listed_last_announced_first(gateway: GatewayProcess) -> None:
    loader = gateway.loader_id()
    assert loader is not None
    os.kill(loader, signal.SIGSTOP)
    try:
        urls = [f"https://hist.gex.bot/2025-05-{day:02d}_ORDER_classic.json" for day in (1, 2, 3)]
        ids = [post(gateway, "/gex_history_url", {"url": url}).json()["id"] for url in urls]
        assert [each["id"] for each in get(gateway, "/gex_history_queue").json()][:3] == ids[::-1]
    finally:
        os.kill(loader, signal.SIGCONT)
