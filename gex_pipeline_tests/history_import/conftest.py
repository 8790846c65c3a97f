"""Fixtures of the tests that run the job `history_import`."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.history import assets
from gex_pipeline_tests.history_import.world import World


@pytest.fixture(scope="session")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as running:
        yield running


@pytest.fixture
def gexbot(tmp_path: Path) -> Iterator[GexBotStandIn]:
    (tmp_path / "gexbot").mkdir()
    with GexBotStandIn(tmp_path / "gexbot") as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, instance: dg.DagsterInstance, gexbot: GexBotStandIn) -> World:
    return World(tmp_path, instance, gexbot)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the download step try again without its pauses of seconds."""
    policy = dg.RetryPolicy(max_retries=assets.DOWNLOAD_RETRIES.max_retries, delay=0.01)
    monkeypatch.setattr(assets, "DOWNLOAD_RETRIES", policy)
