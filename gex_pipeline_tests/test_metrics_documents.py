"""What is scraped, documented, drawn and alerted on are the same metrics."""

import re
from pathlib import Path

from gex_pipeline_tests.gateway_requests import CAPTURES, post
from gex_pipeline_tests.processes import GatewayProcess
from gex_pipeline_tests.scrapes import scrape

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "metrics.md").read_text()


def documented() -> dict[str, tuple[str, set[str]]]:
    """Return type and labels of each metric in the page's table."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_every_metric_is_documented_with_type_and_labels_and_every_documented_one_is_told(
    gateway: GatewayProcess,
) -> None:
    for path, body, status in CAPTURES:
        assert post(gateway, path, body).status_code == status
    told = scrape(gateway)
    assert {name: (kind, told.labels(name)) for name, kind in told.types.items()} == documented()
