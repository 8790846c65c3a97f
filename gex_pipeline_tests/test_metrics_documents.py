"""What is scraped, documented, drawn and alerted on are the same metrics."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

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


def expressions() -> dict[str, str]:
    """Return every PromQL expression that is written down, by where it stands."""
    groups = yaml.safe_load((ROOT / "ops" / "prometheus" / "alerts.yml").read_text())["groups"]
    found = {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}
    dashboard = json.loads((ROOT / "ops" / "grafana" / "gex.json").read_text())
    found |= {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    levels = PAGE.split("\n## Service levels\n")[1]
    rows = re.findall(r"^\| (.+?) \| `([^`]+)` \|$", levels, re.MULTILINE)
    assert len(rows) == levels.count("\n| ") - 2, "a level without an expression"
    return found | dict(rows)


WRITTEN = expressions()


@pytest.mark.parametrize("place", WRITTEN)
def test_every_expression_asks_for_metrics_and_labels_that_are_told(told: Scrape, place: str) -> None:
    expression = WRITTEN[place]
    assert expression.count("(") == expression.count(")")
    samples = {name for name, _ in told.values} | {"up"}
    named = set(re.findall(r"\b(?:(?:gex|process)_\w+|up)\b", re.sub(r'"[^"]*"', "", expression)))
    assert named
    assert named - samples == set()
    labels = {label for _, pairs in told.values for label, _ in pairs} | {"job"}
    selected = re.findall(r"(\w+)=~?\"", expression)
    grouped = [label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(", ")]
    assert {*selected, *grouped} - labels == set()


def test_the_service_levels_are_what_the_rules_watch() -> None:
    rules = {name: " ".join(expression.split()) for name, expression in WRITTEN.items() if name.startswith("Gex")}
    levels = PAGE.split("\n## Service levels\n")[1]
    for name in ("GexSlowAnswers", "GexSlowImports", "GexAvailabilityMissed"):
        measured = re.sub(r" [<>]=? [\d.]+$", "", rules[name])
        assert measured in levels, f"{name} watches something else"


def test_every_rule_says_how_bad_it_is_and_what_it_means() -> None:
    groups = yaml.safe_load((ROOT / "ops" / "prometheus" / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert [rule["alert"] for rule in rules if not rule["annotations"]["summary"].endswith(".")] == []
    assert {rule["labels"]["severity"] for rule in rules} == {"critical", "warning"}
    assert len({rule["alert"] for rule in rules}) == len(rules)
