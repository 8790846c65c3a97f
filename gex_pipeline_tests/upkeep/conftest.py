"""A data folder, a Dagster and a GexBot for each test."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline_tests.history_import.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "gexbot").mkdir()
    with GexBotStandIn(tmp_path / "gexbot") as gexbot, dg.DagsterInstance.ephemeral() as instance:
        yield World(tmp_path, instance, gexbot)
