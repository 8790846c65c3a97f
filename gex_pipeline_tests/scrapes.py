"""What a gateway tells Prometheus, parsed by Prometheus' own reader, for tests."""

from prometheus_client.parser import text_string_to_metric_families

from gex_pipeline_tests.gateway_requests import get
from gex_pipeline_tests.processes import GatewayProcess


class Scrape:
    """One answer of `/metrics`.

    Attributes:
        types: by the name of each family, `_total` of a counter included.
        values: by sample name and labels.
    """

    def __init__(self, text: str) -> None:
        self.types: dict[str, str] = {}
        self.values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            assert name not in self.types, f"{name} is told twice"
            self.types[name] = family.type
            self.values |= {(each.name, frozenset(each.labels.items())): each.value for each in family.samples}

    def value(self, name: str, **labels: str) -> float:
        """Return a sample, 0 when there is none with these labels."""
        return self.values.get((name, frozenset(labels.items())), 0.0)

    def labels(self, name: str) -> set[str]:
        """Return the names of the labels that the samples of a family have."""
        samples = {name, f"{name}_bucket"}
        return {label for sample, pairs in self.values if sample in samples for label, _ in pairs} - {"le"}


def scrape(gateway: GatewayProcess) -> Scrape:
    """Ask a gateway once."""
    answer = get(gateway, "/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(answer.text)
