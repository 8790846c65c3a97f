"""A clock that is set back or jumps ahead between attempts: nothing is lost, doubled or waits for the old time."""

import datetime as dt
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gex_pipeline.backups.folder import list_backups
from gex_pipeline.clock import epoch_ms
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.errors import LeaseTimeoutError
from gex_pipeline.history import importing
from gex_pipeline.history.download import find_unrecorded_source
from gex_pipeline.history.exporting import export_day
from gex_pipeline.history.importing import import_staged
from gex_pipeline.history.obtaining import obtain
from gex_pipeline.history.queue_plan import LOST_AFTER_MS, plan_tick
from gex_pipeline.settings import Settings, load_settings
from gex_pipeline.storage import snapshots
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.request_queue import announce, list_requests, mark_failed, mark_started
from gex_pipeline.storage.schema import ensure_schema
from gex_pipeline_tests.durable_state import rows_of
from gex_pipeline_tests.processes import child, rows
from gex_pipeline_tests.records import ZERO, import_records, record, stored

HOUR, DAY = 3600.0, 86_400.0
NAME = "2025-11-14_SPX_classic_gex_zero.json"
HOLD = "import duckdb; held = duckdb.connect(sys.argv[1]); print('ready', flush=True); time.sleep(60)"


class Clock:
    """The wall clock, some seconds off; what is measured by the monotonic clock goes on as it did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.off_seconds = 0.0
        wall, wall_ns, moment = time.time, time.time_ns, dt.datetime
        clock = self

        class Moment(dt.datetime):
            @classmethod
            def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
                return moment.now(tz) + dt.timedelta(seconds=clock.off_seconds)

        monkeypatch.setattr(time, "time", lambda: wall() + self.off_seconds)
        monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + int(self.off_seconds * 1e9))
        monkeypatch.setattr(dt, "datetime", Moment)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def gexbot(tmp_path: Path) -> Iterator[GexBotStandIn]:
    folder = tmp_path / "gexbot"
    folder.mkdir()
    serve(folder, 1)
    with GexBotStandIn(folder) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, gexbot: GexBotStandIn) -> Settings:
    return load_settings(data_dir=tmp_path / "data", history_hosts=gexbot.host)


def serve(folder: Path, version: int) -> None:
    (folder / NAME).write_text(json.dumps([record(second, spot=version) for second in range(3)]))


def announced(settings: Settings, gexbot: GexBotStandIn) -> None:
    with lease(settings.database_path, purpose="announce") as connection:
        ensure_schema(connection)
        url = gexbot.signed_url(NAME)
        announce(connection, ZERO.feed, ZERO.date, url=url, metadata=None, announced_at_ms=epoch_ms())


def obtained(settings: Settings) -> tuple[str, float]:
    """Return where the file came from and the spot it says."""
    found = obtain(settings, ZERO, lambda *_: None)
    return found.origin, json.loads(found.file.path.read_bytes())[0]["spot"]


@pytest.mark.parametrize(
    "jumps", [(-5 * HOUR, -10 * HOUR), (3 * DAY, 9 * DAY), (3 * DAY, -5 * HOUR), (-5 * HOUR, 3 * DAY)]
)
def test_a_day_is_imported_once_and_replaced_once_whatever_the_clock_says(
    settings: Settings, clock: Clock, jumps: tuple[float, float]
) -> None:
    day = [record(1), record(2)]
    assert import_records(settings, *day).status == "imported"
    once = stored(settings)
    for jump in jumps:
        clock.off_seconds = jump
        assert import_records(settings, *day).status == "unchanged"
        assert stored(settings) == once
        assert export_day(settings, ZERO, "strikes").rows == 6
    assert import_records(settings, record(1, spot=1), record(2), record(3), replace=True).counts.replaced == 1
    clock.off_seconds = 0
    assert import_staged(settings, ZERO, "run", replace=True).status == "unchanged"
    assert export_day(settings, ZERO, "strikes").rows == 9
    statuses = [line[1] for line in rows_of(settings).lineage]
    assert statuses == ["imported", "unchanged", "unchanged", "replaced", "unchanged"]
    assert rows(settings.database_path, "SELECT min(seconds) >= 0, max(seconds) < 60 FROM data_lineage") == [
        (True, True)
    ]


def test_a_clock_that_goes_back_during_an_import_leaves_no_negative_duration(
    settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = snapshots.insert_unknown

    def set_back(*arguments: object, **named: object) -> object:
        clock.off_seconds -= 5 * HOUR
        return insert(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(importing, "insert_unknown", set_back)
    assert import_records(settings, record(1)).counts.snapshots == 1
    assert rows(settings.database_path, "SELECT seconds FROM data_lineage") == [(0.0,)]


@pytest.mark.parametrize("jump", [-5 * HOUR, 3 * DAY])
def test_an_import_is_backed_up_before_it_by_any_clock_and_not_each_time(
    settings: Settings, clock: Clock, jump: float
) -> None:
    import_records(settings, record(1))
    import_records(settings, record(2))
    assert len(list_backups(settings.database_backups_dir)) == 1
    clock.off_seconds = jump
    for second in range(3, 6):
        import_records(settings, record(second))
    assert len(list_backups(settings.database_backups_dir)) == 2


@pytest.mark.parametrize("jump", [-5 * HOUR, 3 * DAY])
def test_a_file_that_is_announced_again_is_fetched_again_by_any_clock_and_then_stays(
    settings: Settings, gexbot: GexBotStandIn, clock: Clock, jump: float
) -> None:
    announced(settings, gexbot)
    assert obtained(settings) == ("announced URL", 1)
    assert obtained(settings) == ("already downloaded", 1)
    clock.off_seconds = jump
    assert obtained(settings) == ("already downloaded", 1)
    serve(gexbot.directory, 2)
    announced(settings, gexbot)
    for off_seconds in (jump, 0):
        clock.off_seconds = off_seconds
        assert obtained(settings) == ("announced URL" if off_seconds else "already downloaded", 2)
    serve(gexbot.directory, 3)
    announced(settings, gexbot)
    assert obtained(settings) == ("announced URL", 3)


def test_a_file_of_the_future_gives_way_to_an_announcement_and_is_taken_without_one(
    settings: Settings, gexbot: GexBotStandIn
) -> None:
    import_records(settings, record(1, spot=7))
    file = find_unrecorded_source(settings, ZERO)
    assert file is not None
    in_a_week = time.time() + 7 * DAY
    os.utime(file.path, (in_a_week, in_a_week))
    assert obtained(settings) == ("already downloaded", 7)
    announced(settings, gexbot)
    assert obtained(settings) == ("announced URL", 1)
    assert obtained(settings) == ("already downloaded", 1)


def test_a_request_waits_for_no_time_that_only_the_old_clock_will_reach(
    settings: Settings, gexbot: GexBotStandIn, clock: Clock
) -> None:
    announced(settings, gexbot)
    with lease(settings.database_path, purpose="test") as connection:
        [request] = list_requests(connection)
        mark_started(connection, request.id, epoch_ms())
        [started] = list_requests(connection)
        assert plan_tick([started], {}, max_attempts=3, now_ms=epoch_ms()).failed == []
        clock.off_seconds = -5 * HOUR
        [lost] = plan_tick([started], {}, max_attempts=3, now_ms=epoch_ms()).failed
        assert (lost.error, lost.try_again) == ("the run was never launched", True)
        clock.off_seconds = LOST_AFTER_MS / 1000 + 60
        assert [each.try_again for each in plan_tick([started], {}, max_attempts=3, now_ms=epoch_ms()).failed] == [
            True
        ]
        clock.off_seconds = 0
        mark_failed(connection, request.id, error="cut off", run_id=None, try_again=True)
        [pending] = list_requests(connection)
    assert plan_tick([pending], {}, max_attempts=3, now_ms=epoch_ms()).launch == []
    for clock.off_seconds in (-5 * HOUR, 3 * DAY):
        assert plan_tick([pending], {}, max_attempts=3, now_ms=epoch_ms()).launch == [pending]


def test_waiting_for_the_database_takes_as_long_as_it_was_told_by_any_clock(
    settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_records(settings, record(1))
    shown = time.time

    def ever_earlier() -> float:
        clock.off_seconds -= HOUR
        return shown()

    monkeypatch.setattr(time, "time", ever_earlier)
    with child(HOLD, settings.database_path):
        started = time.monotonic()
        with (
            pytest.raises(LeaseTimeoutError, match=r"waited 0.5 s"),
            lease(settings.database_path, purpose="test", timeout_seconds=0.5),
        ):
            pass
        assert 0.3 < time.monotonic() - started < 10


def test_rows_that_are_replaced_while_the_clock_stands_still_are_all_kept(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_records(settings, record(1))
    now = dt.datetime.now(dt.UTC)

    class Standing(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return now.astimezone(tz)

    monkeypatch.setattr(dt, "datetime", Standing)
    kept = [import_records(settings, record(1, spot=spot), replace=True).replaced_rows for spot in (1, 2, 3)]
    assert len({path for pair in kept for path in pair if path.exists()}) == 6
