"""Files that appear whole, and the quarantine."""

from __future__ import annotations  # evaluated, they would keep DuckDB types alive

import ctypes
import datetime as dt
import errno
import json
import os
import signal
from pathlib import Path

import pytest

from gex_pipeline.feeds import Feed
from gex_pipeline.storage import files
from gex_pipeline.storage.files import keep_aside, publish, sha256_of, write_whole
from gex_pipeline.storage.quarantine import (
    BadRecord,
    history_quarantine_path,
    live_quarantine_path,
    write_quarantine,
)
from gex_pipeline_tests.processes import child

ZERO, ONE = Feed("SPX", "gex_zero"), Feed("SPX", "gex_one")
DAY = dt.date(2026, 4, 29)


# Files that appear whole


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_published_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "day.parquet"
    with publish(target) as temporary:
        temporary.write_bytes(b"half")
        assert not target.exists()
        assert temporary.parent == target.parent
        with temporary.open("ab") as file:
            file.write(b" whole")
    assert target.read_bytes() == b"half whole"
    assert names(target.parent) == ["day.parquet"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_while_publishing_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "day.parquet"

    def fail() -> None:
        with publish(target) as temporary:
            temporary.write_bytes(b"half")
            raise error

    for content in (None, b"old"):
        if content is not None:
            write_whole(target, content)
        with pytest.raises(error):
            fail()
        assert names(tmp_path) == ([] if content is None else ["day.parquet"])
    assert target.read_bytes() == b"old"


def test_a_file_is_durable_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, synced = tmp_path / "day.parquet", []

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, target.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(target, b"content")
    assert synced == [(target.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_a_large_file_is_written_back_in_small_pieces_before_it_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[int, int] | str] = []
    write_piece, fsync = files._sync_file_range, os.fsync

    def noted_piece(descriptor: int, start: int, size_bytes: int, flags: int) -> int:
        done.append((start, size_bytes))
        return write_piece(descriptor, start, size_bytes, flags) if write_piece else 0

    def noted_fsync(descriptor: int) -> None:
        done.append("synced")
        fsync(descriptor)

    path = tmp_path / "large"
    path.write_bytes(bytes(2 * 1024**2 + 5))
    monkeypatch.setattr(files, "_sync_file_range", noted_piece)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    files.sync(path)
    assert done == [(0, 1024**2), (1024**2, 1024**2), (2 * 1024**2, 5), "synced"]


def test_what_the_disk_refuses_of_a_piece_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(files, "_sync_file_range", refuse)
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises(OSError, match="Input/output error"):
        files.sync(tmp_path / "file")


PUBLISH_SLOWLY = """
from pathlib import Path
from gex_pipeline.storage.files import publish
with publish(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_process_killed_while_publishing_leaves_no_half_file_and_its_leftover_goes_next_time(
    tmp_path: Path, old: bytes | None
) -> None:
    target = tmp_path / "day.parquet"
    if old is not None:
        write_whole(target, old)
    with child(PUBLISH_SLOWLY, target) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = [] if old is None else ["day.parquet"]
    assert names(tmp_path) == [f".day.parquet.{process.pid}.tmp", *kept]
    assert old is None or target.read_bytes() == old
    write_whole(target, b"whole")
    assert (names(tmp_path), target.read_bytes()) == (["day.parquet"], b"whole")


def test_what_a_running_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "day.parquet"
    with child(PUBLISH_SLOWLY, target) as process:
        for name in ("day.parquet", "another.parquet"):
            write_whole(tmp_path / name, b"whole")
        assert f".day.parquet.{process.pid}.tmp" in names(tmp_path)
    assert process.wait() != 0
    write_whole(tmp_path / "another.parquet", b"whole")
    assert f".day.parquet.{process.pid}.tmp" in names(tmp_path)


def test_a_replaced_file_is_kept_under_its_path_and_checksum(tmp_path: Path) -> None:
    root, backups = tmp_path / "parquet", tmp_path / "backups"
    target = root / "gexbot" / "SPX" / "day.parquet"
    assert keep_aside(target, root=root, backups_dir=backups) is None
    assert not backups.exists()
    kept = []
    for content in (b"first", b"second", b"first"):
        write_whole(target, content)
        found = keep_aside(target, root=root, backups_dir=backups)
        assert found is not None
        assert found == backups / "gexbot" / "SPX" / f"day.parquet.{sha256_of(target)[:12]}"
        assert found.read_bytes() == target.read_bytes() == content
        kept.append(found)
    assert kept[0] == kept[2] != kept[1]
    assert len(names(backups / "gexbot" / "SPX")) == 2


def test_a_checksum_is_the_sha_256_of_the_bytes(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"abc")
    assert sha256_of(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# Quarantine


def test_bad_records_are_kept_as_they_came_with_the_reason(tmp_path: Path) -> None:
    target = tmp_path / "quarantine" / "bad.jsonl"
    write_quarantine(
        target,
        [
            BadRecord(17, "spot: got NaN, expected a finite number", b'{"spot":NaN,\n"note":"caf\xc3\xa9"}'),
            BadRecord(99, 'ticker: got "x"', b"\xff\x00{"),
        ],
    )
    assert [json.loads(line) for line in target.read_text().splitlines()] == [
        {
            "position": 17,
            "reason": "spot: got NaN, expected a finite number",
            "record": '{"spot":NaN,\n"note":"café"}',
        },
        {"position": 99, "reason": 'ticker: got "x"', "record": "\\xff\x00{"},
    ]


def test_bad_records_of_another_file_day_feed_or_batch_have_another_place(tmp_path: Path) -> None:
    places = [
        history_quarantine_path(tmp_path, ZERO, DAY, "a" * 64),
        history_quarantine_path(tmp_path, ZERO, DAY, "b" * 64),
        history_quarantine_path(tmp_path, ONE, DAY, "a" * 64),
        history_quarantine_path(tmp_path, ZERO, DAY + dt.timedelta(days=1), "a" * 64),
        live_quarantine_path(tmp_path, "a", 1, 0),
        live_quarantine_path(tmp_path, "a", 1, 10),
        live_quarantine_path(tmp_path, "a", 2, 0),
        live_quarantine_path(tmp_path, "b", 1, 0),
    ]
    assert len(set(places)) == len(places)
    assert places[0] == tmp_path / "gexbot" / "SPX" / "gex_zero" / "20260429-aaaaaaaaaaaa.jsonl"
    assert all(place.is_relative_to(tmp_path) for place in places)
