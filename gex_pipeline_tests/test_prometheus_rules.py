"""The alert rules as Prometheus itself reads and evaluates them."""

import subprocess
from pathlib import Path

import pytest
import yaml

from gex_pipeline_tests.gateway_requests import CAPTURES, get, post
from gex_pipeline_tests.processes import GatewayProcess

RULES = Path(__file__).parents[1] / "ops" / "prometheus" / "alerts.yml"


def promtool(*arguments: str | Path, text: str = "") -> str:
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False)  # noqa: S607
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_accepts_every_rule() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", RULES)


def test_prometheus_has_nothing_to_say_against_the_metrics(gateway: GatewayProcess) -> None:
    for path, body, status in CAPTURES:
        assert post(gateway, path, body).status_code == status
    assert promtool("check", "metrics", text=get(gateway, "/metrics").text) == ""


# Every minute, as promtool writes series: "1+0x20" is 1 for twenty minutes.
ALERTS = {
    "GexGatewayDown": ('up{job="gex"}', "0+0x20"),
    "GexCapturesRefused": ('gex_requests_total{job="gex", method="POST", route="/gex", status="503"}', "0+5x20"),
    "GexCheckFailing": ('gex_check_ok{job="gex", check="loader"}', "0+0x20"),
    "GexBacklogOld": ('gex_backlog_age_seconds{job="gex"}', "600+60x20"),
    "GexImportFailed": ('gex_imports_total{job="gex", outcome="failed"}', "0+1x20"),
}


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_when_it_should_and_not_before(alert: str, tmp_path: Path) -> None:
    series, values = ALERTS[alert]
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"] if rule["alert"] == alert]
    alone = tmp_path / "rules.yml"
    alone.write_text(yaml.safe_dump({"groups": [{"name": alert, "rules": rules}]}))
    healthy = "1+0x20" if values.startswith("0+0") else "0+0x20"
    for name, said, fires in (("ill", values, True), ("well", healthy, False)):
        test = {
            "rule_files": [str(alone)],
            "evaluation_interval": "1m",
            "tests": [
                {
                    "interval": "1m",
                    "input_series": [{"series": series, "values": said}],
                    "promql_expr_test": [
                        {
                            "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})',
                            "eval_time": "20m",
                            "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                        }
                    ],
                }
            ],
        }
        path = tmp_path / f"{name}.yml"
        path.write_text(yaml.safe_dump(test))
        assert "SUCCESS" in promtool("test", "rules", path)
