"""The journal's lines: what is read back is what was written, and damage is told apart."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gex_pipeline.journal import DamagedLine, JournalRecord, encode_record, read_lines, segment_path


def line(number: int) -> bytes:
    return encode_record("uw", 1_763_130_662_000 + number, b'["flow-alerts",{"number":%d}]' % number)


def read(path: Path, *, offset: int = 0, is_closed: bool = True) -> list[JournalRecord | DamagedLine]:
    with path.open("rb") as file:
        file.seek(offset)
        return list(read_lines(file, offset, is_closed=is_closed))


@pytest.mark.parametrize("body", [b'{"a":1}\n', b'  {"a":1}', b'{\r\n "a":1}\r\n', b'\t{"a":1} \t'])
def test_blanks_around_a_body_are_no_damage(tmp_path: Path, body: bytes) -> None:
    path = segment_path(tmp_path, 1)
    path.write_bytes(encode_record("gex", 1, body))
    [record] = read(path)
    assert isinstance(record, JournalRecord)
    assert msgspec.json.decode(record.body) == {"a": 1}


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
