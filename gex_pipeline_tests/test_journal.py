"""The journal: nobody is answered before the fsync, and what is read back is what was written."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path

import msgspec
import pytest

from gex_pipeline.errors import JournalUnavailableError, PermanentError
from gex_pipeline.journal import (
    DamagedLine,
    JournalRecord,
    archived_path,
    encode_record,
    journal_id,
    list_segments,
    read_lines,
    segment_path,
)
from gex_pipeline.storage import files
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


def read(path: Path, *, offset: int = 0, is_closed: bool = True) -> list[JournalRecord | DamagedLine]:
    with path.open("rb") as file:
        file.seek(offset)
        return list(read_lines(file, offset, is_closed=is_closed))


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


def test_an_append_returns_only_after_its_line_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk_is_done, sync = threading.Event(), os.fdatasync

    def slow_sync(file: int) -> None:
        disk_is_done.wait(10)
        sync(file)

    async def scenario(writer: JournalWriter) -> None:
        append = asyncio.create_task(writer.append(line(1)))
        await asyncio.sleep(0.1)
        assert contents(tmp_path) == [line(1)]
        assert not append.done()
        disk_is_done.set()
        await append

    monkeypatch.setattr(os, "fdatasync", slow_sync)
    written(tmp_path, scenario)


def test_concurrent_appends_share_a_sync_and_all_are_written_in_order(tmp_path: Path, synced: list[Path]) -> None:
    async def scenario(writer: JournalWriter) -> None:
        await asyncio.gather(*(writer.append(line(number)) for number in range(500)))

    written(tmp_path, scenario)
    assert contents(tmp_path) == [b"".join(map(line, range(500)))]
    assert 1 <= synced.count(segment_path(tmp_path, 1)) < 50


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


@pytest.mark.parametrize("body", [b'{"a":1}\n', b'  {"a":1}', b'{\r\n "a":1}\r\n', b'\t{"a":1} \t'])
def test_blanks_around_a_body_are_no_damage(tmp_path: Path, body: bytes) -> None:
    path = segment_path(tmp_path, 1)
    path.write_bytes(encode_record("gex", 1, body))
    [record] = read(path)
    assert isinstance(record, JournalRecord)
    assert msgspec.json.decode(record.body) == {"a": 1}


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


def test_records_come_back_as_they_were_written_from_any_line_on(tmp_path: Path) -> None:
    path = segment_path(tmp_path, 1)
    bodies = [b'{"a": 1}', '["gex:SPX",{"note":"h\u00e9 \\n"}]'.encode(), b'{"strikes":[[6890,-228.01]]}']
    lines = [
        encode_record("gex", 17, bodies[0]),
        encode_record("uw", 18, bodies[1]),
        encode_record("gex_history_url", 19, bodies[2]),
    ]
    path.write_bytes(b"".join(lines))
    second, third = len(lines[0]), len(lines[0] + lines[1])
    expected = [
        JournalRecord(0, second, 17, "gex", bodies[0]),
        JournalRecord(second, third, 18, "uw", bodies[1]),
        JournalRecord(third, third + len(lines[2]), 19, "gex_history_url", bodies[2]),
    ]
    assert read(path) == expected
    assert read(path, offset=second) == expected[1:]
    assert read(path, offset=expected[-1].end) == []


def test_line_breaks_between_tokens_become_blanks_and_the_value_stays(tmp_path: Path) -> None:
    path = segment_path(tmp_path, 1)
    body = b'{\r\n  "timestamp": 1777492800,\n  "note": "two\\nlines"\n}'
    path.write_bytes(encode_record("gex", 1, body))
    [record] = read(path)
    assert isinstance(record, JournalRecord)
    assert b"\n" not in record.body
    assert msgspec.json.decode(record.body) == {"timestamp": 1777492800, "note": "two\nlines"}


def test_a_torn_last_line_waits_in_an_open_segment_and_is_damaged_in_a_closed_one(tmp_path: Path) -> None:
    path = segment_path(tmp_path, 1)
    torn = line(2)[:40]
    path.write_bytes(line(1) + torn)
    [whole] = read(path, is_closed=False)
    assert isinstance(whole, JournalRecord)
    [same, damaged] = read(path, is_closed=True)
    assert same == whole
    assert isinstance(damaged, DamagedLine)
    assert (damaged.offset, damaged.end, damaged.content) == (whole.end, whole.end + 40, torn)
    assert damaged.reason.startswith("torn")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace(b'"number":2', b'"number":7'),
        lambda text: text.replace(b'"kind":"uw"', b'"kind":"ux"'),
        lambda text: text.replace(b'"body":', b'"bodx":'),
        lambda text: text[:20] + b"\0" * 9 + text[29:],
        lambda text: b"\xff" + text[1:],
        lambda _: b"\n",
    ],
)
def test_a_damaged_line_is_told_apart_and_its_neighbours_are_read(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = segment_path(tmp_path, 1)
    path.write_bytes(line(1) + damage(line(2)) + line(3))
    first, damaged, last = read(path)
    assert isinstance(first, JournalRecord)
    assert isinstance(last, JournalRecord)
    assert isinstance(damaged, DamagedLine)
    assert damaged.reason.startswith("damaged")
    assert damaged.content == damage(line(2))
    assert (damaged.offset, damaged.end) == (first.end, last.offset)
