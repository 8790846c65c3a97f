"""Somebody's own file in the place of a downloaded one."""

from pathlib import Path

import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.history.download import adopt, distrust, find_source
from gex_pipeline.settings import Settings
from gex_pipeline_tests.download.partition_files import BODY, NAME, PARTITION, Download, names


def test_an_adopted_file_stands_in_the_partitions_place_whatever_name_leads_to_it(
    tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / "mine").write_bytes(BODY)
    (tmp_path / "link.json").symlink_to("mine")
    found = adopt(settings, PARTITION, tmp_path / "link.json")
    assert (found.path, found.path.is_symlink()) == (PARTITION.source(settings).with_suffix(".json"), False)
    assert found == find_source(settings, PARTITION)
    assert adopt(settings, PARTITION, found.path.parent / ".." / "gex_zero" / found.path.name) == found
    assert names(settings) == {found.path.name, f"{found.path.name}.sha256"}


def test_a_file_that_is_adopted_again_after_it_was_distrusted_leaves_nothing_beside_it(
    tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / "mine.json").write_bytes(BODY)
    found = adopt(settings, PARTITION, tmp_path / "mine.json")
    distrust(found)
    assert adopt(settings, PARTITION, tmp_path / "mine.json") == found
    assert names(settings) == {found.path.name, f"{found.path.name}.sha256"}


@pytest.mark.parametrize("is_marked", [False, True])
def test_a_download_never_writes_into_a_file_whose_adoption_was_cut_off(
    tmp_path: Path, host: GexBotStandIn, settings: Settings, fetch: Download, is_marked: bool
) -> None:
    mine = tmp_path / "mine.json"
    mine.write_bytes(b"[{}]")
    partial = PARTITION.source(settings).with_suffix(".part")
    partial.parent.mkdir(parents=True)
    partial.hardlink_to(mine)
    if is_marked:
        partial.with_suffix(".etag").write_text('"of another file"')
    assert fetch(host.signed_url(NAME)).path.read_bytes() == BODY
    assert mine.read_bytes() == b"[{}]"
