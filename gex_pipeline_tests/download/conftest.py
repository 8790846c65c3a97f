"""A stand-in for GexBot, and settings that allow it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.history.download import download
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline_tests.download.partition_files import BODY, NAME, PARTITION, Download


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / NAME).write_bytes(BODY)
    return folder


@pytest.fixture
def host(files: Path) -> Iterator[GexBotStandIn]:
    with GexBotStandIn(files, api_key="demo-key") as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, host: GexBotStandIn) -> Settings:
    return load_settings(
        data_dir=tmp_path / "data",
        history_hosts=host.host,
        gexbot_api_key="demo-key",
        gexbot_api_url=f"{host.base_url}/v2",
    )


@pytest.fixture
def fetch(settings: Settings) -> Download:
    return lambda url: download(settings, PARTITION, url, lambda *_: None)
