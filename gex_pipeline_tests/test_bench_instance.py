"""The instance that `gex bench instance` measures is as if every partition had been imported."""

from pathlib import Path

import dagster as dg
import pytest

from gex_pipeline.bench.many_partitions import FEEDS, fill
from gex_pipeline.clock import epoch_ms
from gex_pipeline.dagster_home import dagster_instance
from gex_pipeline.definitions import defs
from gex_pipeline.history.assets import GROUP
from gex_pipeline.history.judging import PUBLISHED, STAGED, STORED
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import load_settings

COUNT = len(FEEDS) + 5


def test_every_partition_has_its_run_its_materializations_and_its_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    settings = load_settings(data_dir=tmp_path / "data")
    with dagster_instance(settings) as instance:
        first = fill(settings, instance, COUNT, epoch_ms())
        known = instance.get_materialized_partitions(dg.AssetKey("gex_snapshots"))
        assert len(known) == COUNT
        assert {Partition.parse(key).feed for key in known} == set(FEEDS)
        graph = defs.resolve_asset_graph()
        for asset in graph.get_all_asset_keys():
            is_of_history = graph.get(asset).group_name == GROUP
            assert instance.get_materialized_partitions(asset) == (known if is_of_history else set())
        for check in (*STAGED, *STORED, *PUBLISHED):
            key = dg.AssetCheckKey(dg.AssetKey(check.asset), check.name)
            infos = instance.event_log_storage.get_asset_check_partition_info([key])
            assert {info.partition_key for info in infos} == known
            assert all(info.is_current for info in infos)
        runs = instance.get_runs()
        assert {run.tags["dagster/partition"] for run in runs} == known
        other = next(key for key in known if key != first.key)
        [found] = instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey("gex_strikes"), asset_partitions=[other]), limit=2
        ).records
        assert found.run_id in {run.run_id for run in runs if run.tags["dagster/partition"] == other}
        assert found.partition_key == other
