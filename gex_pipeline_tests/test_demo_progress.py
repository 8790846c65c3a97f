"""What the demo says while it goes on, into a pipe."""

import os
from pathlib import Path

import pytest
from rich.console import Console

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.demo.progress import Address, DemoError, Parts, tell_when_up


def test_into_a_pipe_each_part_has_its_line_at_once() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as out, os.fdopen(writing, "w") as into, Parts(Console(file=into)) as parts:
        for name in ("one part", "another"):
            with parts.part(name) as tell:
                assert out.readline() == f"{name} ...\n"
                tell("half of it")
        assert list(parts.seconds) == ["one part", "another"]


def test_an_address_is_told_as_soon_as_it_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "2025-11-14_SPX_classic_gex_zero.json").write_text("[]")
    with GexBotStandIn(tmp_path) as up:
        nobody = Address("Dagster UI", "http://127.0.0.1:1/assets", "http://127.0.0.1:1/server_info")
        page = Address("live page", "http://127.0.0.1:2/", up.signed_url("2025-11-14_SPX_classic_gex_zero.json"))
        with pytest.raises(DemoError, match="waited 0 s for Dagster UI to start"):
            tell_when_up(Console(), nobody, 0)
        tell_when_up(Console(), page, 0)
    assert capsys.readouterr().out == "live page        http://127.0.0.1:2/\n"
