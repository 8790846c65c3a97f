"""One browser and one gateway with snapshots for all tests of a process."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from gex_pipeline_tests.page.browser import running_browser
from gex_pipeline_tests.page.snapshots import post_session
from gex_pipeline_tests.processes import GatewayProcess, running_gateway


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that took the beginning of two feeds' sessions; nobody adds to these."""
    with running_gateway(tmp_path_factory.mktemp("recorder") / "data") as gateway:
        post_session(gateway)
        gateway.wait_until_loaded()
        yield gateway
