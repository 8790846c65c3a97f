"""A signed link is a secret: what of it is seen outside of the queue table."""

import json
from pathlib import Path
from urllib.parse import unquote

import dagster as dg
import pytest

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.feeds import request_id
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.request_queue import find_request
from gex_pipeline_tests.history_import.world import ZERO, Row, World, spoiling
from gex_pipeline_tests.processes import free_port
from gex_pipeline_tests.records import announce_url


@pytest.mark.usefixtures("short_pauses")
def test_a_signed_query_string_is_nowhere_but_in_the_queue_table(
    tmp_path: Path, gexbot: GexBotStandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "data" / "dagster"
    home.mkdir(parents=True)
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        world = World(tmp_path, instance, gexbot)
        hosts = f"{gexbot.host},127.0.0.1:{free_port()}"
        world.settings = load_settings(data_dir=tmp_path / "data", history_hosts=hosts)
        path = world.write(ZERO, snapshots=1000, strikes=2, damage=spoiling(500))
        closed = f"http://{world.settings.history_hosts[1]}/{path.name}?sig=CLOSED"
        urls = [closed]
        announce_url(world.settings, ZERO, closed)
        runs = [world.run(ZERO)]
        for behaviour in ({"status": 403}, {"cut_after": 9_000}):
            urls.append(world.announce(ZERO, path, **behaviour))
            runs.append(world.run(ZERO))
        assert [run.success for run in runs] == [False, False, True]

        queries = [url.partition("?")[2] for url in urls]
        secrets = {secret for query in queries for secret in (query, query.rpartition("sig=")[2], unquote(query))}
        texts = [json.dumps(_queued(world, ZERO)), *capfd.readouterr()]
        for run in runs:
            record = instance.get_run_by_id(run.run_id)
            assert record is not None
            texts += [repr(record), repr(record.tags), *(repr(entry) for entry in instance.all_logs(run.run_id))]
            texts += [dg.serialize_value(entry) for entry in instance.all_logs(run.run_id)]
        assert any("could not be fetched" in text for text in texts)
        for text in texts:
            assert not any(secret in text for secret in secrets)
    searched = 0
    for file in (each for each in (tmp_path / "data").rglob("*") if each.is_file()):
        if file == world.settings.database_path or file.parent == world.settings.database_backups_dir:
            assert file.suffix != ".db" or file.stat().st_mode & 0o077 == 0, file
            continue
        content = file.read_bytes() + str(file).encode()
        assert not any(secret.encode() in content for secret in secrets), file
        searched += 1
    assert searched > 10
    assert secrets & {str(row[0]).partition("?")[2] for row in world.query("SELECT url FROM gex_history_queue")}


def _queued(world: World, partition: Partition) -> Row:
    with lease(world.settings.database_path, purpose="look") as connection:
        request = find_request(connection, request_id(partition.feed, partition.date))
        assert request is not None
        return request.public()
