"""What is scraped, documented, drawn and alerted on are the same metrics."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.storage.lineage import ImportCounts
from gex_pipeline_tests.gateway_requests import CAPTURES, post
from gex_pipeline_tests.processes import running_gateway, wait_until
from gex_pipeline_tests.scrapes import Scrape, scrape
from gex_pipeline_tests.test_metrics_figures import store_import

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "metrics.md").read_text()


def documented() -> dict[str, tuple[str, set[str]]]:
    """Return type and labels of each metric in the page's table."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scrape]:
    """What a gateway tells that had one of everything: captures, an import, a polled feed."""
    folder = tmp_path_factory.mktemp("busy")
    data_dir = folder / "data"
    store_import(data_dir / "gex_data.db", 1, "imported", ImportCounts(1, 1, 0, 0))
    with GexBotStandIn(folder, api_key="k") as gexbot:
        polling = {"GEX_POLL_FEEDS": "SPX:gex_full", "GEXBOT_API_URL": f"{gexbot.base_url}/v2"}
        with running_gateway(data_dir, GEXBOT_API_KEY="k", **polling) as gateway:
            for path, body, status in CAPTURES:
                assert post(gateway, path, body).status_code == status
            gateway.wait_until_loaded()
            wait_until(lambda: scrape(gateway).labels("gex_queue_requests"), 20)
            wait_until(lambda: scrape(gateway).labels("gex_poller_polls_total"), 20)
            yield scrape(gateway)


def test_every_metric_is_documented_with_type_and_labels_and_every_documented_one_is_told(told: Scrape) -> None:
    assert {name: (kind, told.labels(name)) for name, kind in told.types.items()} == documented()


def test_every_metric_has_a_value_once_there_is_something_to_tell(told: Scrape) -> None:
    with_values = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in told.values}
    assert set(told.types) - with_values == set()
