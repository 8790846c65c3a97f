"""Which URLs may be announced: only those that can mean an allowed host and nothing else."""

import pytest

from gex_pipeline_tests.gateway_requests import SECRET, journal_bytes, post, problems
from gex_pipeline_tests.hostile_urls import HOSTILE_ORIGINS
from gex_pipeline_tests.processes import GatewayProcess


@pytest.mark.parametrize("origin", HOSTILE_ORIGINS)
def test_what_only_looks_like_an_allowed_host_is_refused(gateway: GatewayProcess, origin: str) -> None:
    before = journal_bytes(gateway)
    url = f"{origin.format(port=9912)}/2025-11-14_SPX_classic.json?{SECRET}"
    answer = post(gateway, "/gex_history_url", {"url": url})
    assert answer.status_code == 400
    [problem] = problems(answer)
    assert problem["field"] == "url"
    assert "SIGNATURE" not in answer.text
    assert journal_bytes(gateway) == before


@pytest.mark.parametrize("origin", ["https://hist.gex.bot", "HTTPS://Hist.GEX.Bot:443", "https://hist.gex.bot:00443"])
def test_an_allowed_host_may_be_written_in_capitals_and_with_its_port(gateway: GatewayProcess, origin: str) -> None:
    url = f"{origin}/2025-11-14_SPX_classic.json?next=https://127.0.0.1&at=a@b"
    assert post(gateway, "/gex_history_url", {"url": url}).status_code == 202


@pytest.mark.parametrize(
    "path",
    ["/../../etc/2025-11-14_..%2f..%2fetc_classic.json", "/2025-11-14_%00_classic.json", "/2025-11-14_A%20B.json"],
)
def test_a_file_name_that_would_be_a_path_names_no_feed(gateway: GatewayProcess, path: str) -> None:
    answer = post(gateway, "/gex_history_url", {"url": f"https://hist.gex.bot{path}", "ticker": "spx"})
    assert (answer.status_code, answer.json().get("ticker")) == (202, "SPX")
    assert post(gateway, "/gex_history_url", {"url": f"https://hist.gex.bot{path}"}).status_code == 400
