"""The journal: nobody is answered before the fsync, and what is read back is what was written."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from gex_pipeline.errors import JournalUnavailableError, PermanentError
from gex_pipeline.journal import (
    archived_path,
    encode_record,
    journal_id,
    list_segments,
    segment_path,
)
from gex_pipeline.storage import files
from gex_pipeline_tests.processes import wait_until
from webhook_gateway import journal_writer
from webhook_gateway.journal_writer import JournalWriter

NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


def line(number: int) -> bytes:
    return encode_record("uw", 1_763_130_662_000 + number, b'["flow-alerts",{"number":%d}]' % number)


def written(journal_dir: Path, *scenarios: Callable[[JournalWriter], Coroutine[None, None, None]]) -> None:
    """Run each scenario with a writer of its own, as if the gateway were started again."""

    async def run(scenario: Callable[[JournalWriter], Coroutine[None, None, None]]) -> None:
        writer = JournalWriter(journal_dir)
        try:
            await scenario(writer)
        finally:
            await writer.close()

    for scenario in scenarios:
        asyncio.run(run(scenario))


def contents(journal_dir: Path) -> list[bytes]:
    return [segment_path(journal_dir, segment).read_bytes() for segment in list_segments(journal_dir)]


def fail_once(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """Make the next call of `os.write` or `os.fdatasync` fail as on a full disk."""
    real = getattr(os, function)
    failures = [NO_SPACE]

    def once(*arguments: int | bytes) -> object:
        if failures:
            raise failures.pop()
        return real(*arguments)

    monkeypatch.setattr(os, function, once)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files and folders that were synced, in order."""
    paths: list[Path] = []

    def noting(sync: Callable[[int], None]) -> Callable[[int], None]:
        def note(file: int) -> None:
            paths.append(Path(f"/proc/self/fd/{file}").readlink())
            sync(file)

        return note

    for function in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, function, noting(getattr(os, function)))
    return paths


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A disk that has nothing safe before it is set."""
    is_done, sync = threading.Event(), os.fdatasync

    def slow_sync(file: int) -> None:
        assert is_done.wait(10)
        sync(file)

    monkeypatch.setattr(os, "fdatasync", slow_sync)
    return is_done


def test_an_append_returns_only_after_its_line_is_synced(tmp_path: Path, disk: threading.Event) -> None:
    async def scenario(writer: JournalWriter) -> None:
        append = asyncio.create_task(writer.append(line(1)))
        await asyncio.to_thread(wait_until, lambda: contents(tmp_path) == [line(1)], 10)
        assert not append.done()
        disk.set()
        await append

    written(tmp_path, scenario)


def test_concurrent_appends_share_a_sync_and_all_are_written_in_order(tmp_path: Path, synced: list[Path]) -> None:
    async def scenario(writer: JournalWriter) -> None:
        await asyncio.gather(*(writer.append(line(number)) for number in range(500)))

    written(tmp_path, scenario)
    assert contents(tmp_path) == [b"".join(map(line, range(500)))]
    assert 1 <= synced.count(segment_path(tmp_path, 1)) < 50


def test_a_client_that_leaves_takes_nobody_with_it(tmp_path: Path, disk: threading.Event) -> None:
    async def scenario(writer: JournalWriter) -> None:
        leaves, stays = (asyncio.create_task(writer.append(line(number))) for number in (1, 2))
        await asyncio.to_thread(wait_until, lambda: any(contents(tmp_path)), 10)
        leaves.cancel()
        disk.set()
        await asyncio.wait_for(stays, 10)
        assert leaves.cancelled()
        await writer.append(line(3))

    written(tmp_path, scenario)
    assert contents(tmp_path) == [line(1) + line(2) + line(3)]


def test_a_disk_that_hangs_does_not_fill_the_memory(
    tmp_path: Path, disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(writer: JournalWriter) -> None:
        appends = [asyncio.create_task(writer.append(line(1))) for _ in range(5)]
        refused, _ = await asyncio.wait(appends, return_when=asyncio.FIRST_COMPLETED)
        assert [str(append.exception()) for append in refused] == ["the disk does not keep up"] * 2
        disk.set()
        await asyncio.gather(*(append for append in appends if append not in refused))
        await asyncio.gather(*(writer.append(line(1)) for _ in range(3)))

    monkeypatch.setattr(journal_writer, "WAITING_BYTES", 3 * len(line(1)))
    written(tmp_path, scenario)
    assert contents(tmp_path) == [line(1) * 6]


def test_closing_writes_what_was_offered_before(tmp_path: Path) -> None:
    async def scenario(writer: JournalWriter) -> None:
        appends = [asyncio.create_task(writer.append(line(number))) for number in range(3)]
        await asyncio.sleep(0)
        await writer.close()
        await asyncio.gather(*appends)

    async def run() -> None:
        await scenario(JournalWriter(tmp_path))

    asyncio.run(run())
    assert contents(tmp_path) == [line(0) + line(1) + line(2)]


def test_one_append_after_the_other_has_a_sync_each(tmp_path: Path, synced: list[Path]) -> None:
    async def scenario(writer: JournalWriter) -> None:
        for number in range(5):
            await writer.append(line(number))

    written(tmp_path, scenario)
    assert synced.count(segment_path(tmp_path, 1)) == 5


def test_a_new_segments_name_is_on_the_disk_before_its_first_line(tmp_path: Path, synced: list[Path]) -> None:
    async def scenario(writer: JournalWriter) -> None:
        assert synced[-1] == tmp_path
        assert contents(tmp_path)[-1] == b""
        await writer.append(line(0))
        assert synced[-1] == segment_path(tmp_path, writer.segment)

    written(tmp_path, scenario, scenario)


@pytest.mark.parametrize("function", ["write", "fdatasync"])
def test_a_write_error_reaches_everybody_who_waits_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    async def scenario(writer: JournalWriter) -> None:
        await writer.append(line(0))
        fail_once(monkeypatch, function)
        results = await asyncio.gather(*(writer.append(line(n)) for n in (1, 2, 3)), return_exceptions=True)
        assert [type(result) for result in results] == [JournalUnavailableError] * 3
        assert "No space left on device" in str(results[0])
        assert writer.last_error == "No space left on device"
        assert contents(tmp_path) == [line(0)]

        await writer.append(line(4))
        assert writer.last_error is None

    written(tmp_path, scenario)
    assert contents(tmp_path) == [line(0), line(4)]


def test_a_line_that_fitted_only_in_part_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def half_then_full(file: int, data: memoryview) -> int:
        if len(data) < len(line(1)):
            raise NO_SPACE
        return write(file, data[: len(data) // 2])

    async def scenario(writer: JournalWriter) -> None:
        await writer.append(line(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half_then_full)
            with pytest.raises(JournalUnavailableError):
                await writer.append(line(1))
        assert contents(tmp_path) == [line(0)]
        await writer.append(line(2))

    written(tmp_path, scenario)
    assert contents(tmp_path) == [line(0), line(2)]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    async def scenario(writer: JournalWriter) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda file, data: write(file, data[:7]))
            await writer.append(line(0))

    written(tmp_path, scenario)
    assert contents(tmp_path) == [line(0)]


def test_a_segment_that_is_full_or_old_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def until_full(writer: JournalWriter) -> None:
        monkeypatch.setattr(journal_writer, "SEGMENT_BYTES", 2 * len(line(0)) + 1)
        for number in range(5):
            await writer.append(line(number))
        await writer.append(b"x" * 5 * len(line(0)))

    async def until_old(writer: JournalWriter) -> None:
        monkeypatch.setattr(journal_writer, "SEGMENT_SECONDS", -1.0)
        await writer.append(line(6))
        await writer.append(line(7))

    written(tmp_path, until_full, until_old)
    assert contents(tmp_path) == [
        line(0) + line(1),
        line(2) + line(3),
        line(4),
        b"x" * 5 * len(line(0)),
        line(6),
        line(7),
    ]


def test_every_start_begins_a_new_segment_and_keeps_the_journals_name(tmp_path: Path) -> None:
    names = []

    async def scenario(writer: JournalWriter) -> None:
        names.append(journal_id(tmp_path))
        await writer.append(line(len(names)))

    written(tmp_path, scenario, scenario)
    assert contents(tmp_path) == [line(1), line(2)]
    assert names[0] == names[1] is not None


def test_numbers_of_archived_segments_are_not_used_again(tmp_path: Path) -> None:
    archive = archived_path(tmp_path, 7)
    archive.parent.mkdir()
    archive.write_bytes(b"")

    async def one(writer: JournalWriter) -> None:
        await writer.append(line(1))

    written(tmp_path, one)
    assert list_segments(tmp_path) == [8]


def test_an_error_of_any_kind_reaches_those_who_wait_and_the_next_append_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(writer: JournalWriter) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(writer, "_segment_for", lambda _: 1 / 0)
            with pytest.raises(JournalUnavailableError, match="ZeroDivisionError"):
                await writer.append(line(1))
        await writer.append(line(2))

    written(tmp_path, scenario)
    assert contents(tmp_path) == [line(2)]


def test_a_folder_sync_that_failed_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    failures, sync = [OSError(errno.EIO, "Input/output error") for _ in range(2)], files.sync

    def twice(path: Path) -> None:
        if failures:
            raise failures.pop()
        synced.append(path)
        sync(path)

    async def scenario(writer: JournalWriter) -> None:
        with pytest.raises(JournalUnavailableError):
            await writer.append(line(0))
        await writer.append(line(1))
        assert synced == [tmp_path]

    monkeypatch.setattr(journal_writer, "sync", twice)
    written(tmp_path, scenario)


def test_an_error_on_closing_does_not_stop_later_appends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close = os.close

    async def scenario(writer: JournalWriter) -> None:
        await writer.append(line(0))
        failing = {writer._file}

        def close_badly(file: int) -> None:
            close(file)
            if file in failing:
                failing.clear()
                raise OSError(errno.EIO, "Input/output error")

        fail_once(monkeypatch, "fdatasync")
        monkeypatch.setattr(os, "close", close_badly)
        with pytest.raises(JournalUnavailableError):
            await writer.append(line(1))
        await writer.append(line(2))

    written(tmp_path, scenario)


def test_a_second_writer_is_refused_while_the_first_one_is_open(tmp_path: Path) -> None:
    async def scenario(_: JournalWriter) -> None:
        with pytest.raises(PermanentError, match="another gateway is writing"):
            JournalWriter(tmp_path)

    written(tmp_path, scenario, scenario)


def test_the_journal_is_for_its_owner_only(tmp_path: Path) -> None:
    async def scenario(writer: JournalWriter) -> None:
        await writer.append(line(0))

    journal_dir = tmp_path / "journal"
    written(journal_dir, scenario)
    assert journal_dir.stat().st_mode & 0o077 == 0
    assert segment_path(journal_dir, 1).stat().st_mode & 0o077 == 0
