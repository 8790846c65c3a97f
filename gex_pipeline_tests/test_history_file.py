"""History files: every layout is split into exactly its records, and what is cut off or damaged is refused."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from gex_pipeline.errors import MalformedFileError
from gex_pipeline.formats.history_file import decompress, is_gzip, split_records

RECORDS: list[dict[str, Any]] = [
    {"timestamp": 1777492800, "spot": 7138.55, "strikes": [[6890, -228.01, 1, [1, 2, 3, 4, 5]], [6895, 1]]},
    {"timestamp": 1777492801, "note": 'a "quoted", \\ café', "strikes": []},
    {"timestamp": 1777492802, "max_change": {"one": [1, {"two": None}]}},
]
MARK = b"\xef\xbb\xbf"
HEAD, TAIL = b'{"timestamp":1}', b'{"timestamp":2}'


def split(document: bytes) -> list[bytes]:
    return [bytes(record) for record in split_records(memoryview(document))]


def records(document: bytes) -> list[Any]:
    return [json.loads(record) for record in split(document)]


def text(value: object, **layout: Any) -> bytes:
    return json.dumps(value, **layout).encode()


LINES = b"".join(text(record) + b"\n" for record in RECORDS)
ARRAYS = {
    "compact array": text(RECORDS, separators=(",", ":")),
    "array over lines": text(RECORDS, indent=2),
    "array of a record a line": b"[\n" + b",\n".join(map(text, RECORDS)) + b"\n]\n",
    "array with blanks around": b" \r\n\t" + text(RECORDS) + b"\n\n ",
    "array after a mark": MARK + text(RECORDS),
}
WRAPPERS = {
    "wrapper in a line": text({"data": RECORDS}),
    "wrapper over lines": text({"ticker": "SPX", "data": RECORDS, "count": 3}, indent=2),
    "wrapper of a record a line": b'{"data":[\n' + b",\n".join(map(text, RECORDS)) + b"\n]}\n",
    "wrapper of records over lines": b'{"frames":[' + b",\n".join(map(text, RECORDS)) + b'],"count":3}',
    "wrapper over lines with a count first": text({"count": 3, "data": RECORDS}, indent="\t"),
    "wrapper after a mark": MARK + text({"data": RECORDS}),
}
JSON_LINES = {
    "lines": LINES,
    "lines without the last line end": LINES.removesuffix(b"\n"),
    "lines with blank lines": b"\n" + LINES.replace(b"\n", b"\n \n") + b"\n\n",
    "lines of windows": LINES.replace(b"\n", b"\r\n"),
    "lines after a mark": MARK + LINES,
}


@pytest.mark.parametrize("layout", [*ARRAYS, *WRAPPERS, *JSON_LINES])
def test_every_layout_is_split_into_its_records(layout: str) -> None:
    assert records((ARRAYS | WRAPPERS | JSON_LINES)[layout]) == RECORDS


@pytest.mark.parametrize("name", ["data", "history", "frames", "results"])
def test_a_wrapper_is_known_by_each_of_its_names(name: str) -> None:
    assert records(text({"status": "ok", name: RECORDS})) == RECORDS
    assert records(text({name: []})) == []


def test_records_come_out_byte_for_byte() -> None:
    first, second = '{ "b" :1.10, "a":"caf\u00e9 \\u00e9" , "a":2E+3}'.encode(), b'{"x":[1 , 2]}'
    for document in (b"[%b , %b]", b'{"data": [%b,%b ]}', b"%b\n%b\n", b"%b\n%b", b"[%b,%b,NaN]"):
        assert [record.strip() for record in split(document % (first, second))][:2] == [first, second]


@pytest.mark.parametrize("layout", [{}, {"indent": 2}])
@pytest.mark.parametrize("mark", [b"", MARK])
@pytest.mark.parametrize("record", RECORDS)
def test_a_single_record_is_a_document(record: dict[str, Any], mark: bytes, layout: dict[str, int]) -> None:
    assert records(mark + text(record, **layout)) == [record]


def test_an_object_whose_data_is_no_list_is_a_single_record() -> None:
    for document in ({"data": {"timestamp": 1}}, {"data": "[]", "error": "no such day"}, {"message": "Forbidden"}):
        assert records(text(document)) == [document]


def test_an_empty_array_has_no_records() -> None:
    for document in (b"[]", b" [ \n ] ", MARK + b"[]"):
        assert split(document) == []


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b" \n ",
        MARK,
        MARK[:2],
        b"\x00" * 10,
        b"hello",
        b"<html></html>",
        b'"[]"',
        b"5",
        b"null",
        b"]",
        b"}",
        b"{]",
    ],
)
def test_what_is_no_document_of_records_is_refused(document: bytes) -> None:
    with pytest.raises(MalformedFileError):
        split(document)


def test_a_page_of_html_is_shown_by_its_beginning_only() -> None:
    with pytest.raises(MalformedFileError, match="found '<html>x") as refused:
        split(b"<html>" + b"x" * 10_000)
    assert len(str(refused.value)) < 200


# Damaged arrays: the other records are saved


@pytest.mark.parametrize(
    "bad",
    [
        b'{"timestamp":NaN}',
        b"garbage",
        b"NaN",
        b'{"a":01}',
        b'{"a":1 "b":2}',
        b'{"a":"tab\there"}',
        b'{"a":"line\nbreak"}',
        b'{"a":"\\x"}',
        b'{"a":"\\\n]"}',
        b'{a:[1,{"b":[2]}]}',
        b"{'a':1}",
        b'{"a":"]}","b":NaN}',
        b'{"a":"\\"]},{[\\\\","b":NaN}',
        b'{"]":NaN}',
    ],
)
def test_a_bad_element_comes_out_as_it_is_and_the_others_whole(bad: bytes) -> None:
    tricky = b'{"a":"]},{ \\" \\\\","b":[[],{}]}'
    assert split(b"[%b,%b,%b,%b]" % (HEAD, bad, tricky, TAIL)) == [HEAD, bad, tricky, TAIL]
    assert split(b"[%b]" % bad) == [bad]
    assert split(b"[%b,%b]\n" % (bad, TAIL)) == [bad, TAIL]
    assert split(b'{"data":[%b,%b,%b]}' % (HEAD, bad, TAIL)) == [HEAD, bad, TAIL]
    assert split(b' {"frames" : [%b,%b],"count":{"all":2}} \n' % (bad, TAIL)) == [bad, TAIL]
    assert [record.strip() for record in split(b" [\n %b,\n %b\n]\n " % (HEAD, bad))] == [HEAD, bad]


def test_elements_without_a_comma_between_them_come_out_as_one_bad_element() -> None:
    assert split(b"[%b %b,%b]" % (HEAD, TAIL, TAIL)) == [b"%b %b" % (HEAD, TAIL), TAIL]


def test_elements_that_are_no_objects_come_out_for_the_caller_to_refuse() -> None:
    assert split(b'[1,"x",null,[2],%b]' % HEAD) == [b"1", b'"x"', b"null", b"[2]", HEAD]


@pytest.mark.parametrize("document", [b"[%b]%b", b"[%b,NaN]%b", b"[%b] %b", b"[%b],%b", b"[%b]\n%b"])
@pytest.mark.parametrize("more", [b"]", b"[]", TAIL, b"x", b"\x00", b"\x1a"])
def test_more_after_the_end_of_an_array_is_refused(document: bytes, more: bytes) -> None:
    with pytest.raises(MalformedFileError, match="more after the end"):
        split(document % (HEAD, more))


@pytest.mark.parametrize("document", [b'[%b,{"a":1,%b]', b'[%b,{"a":[1},%b]', b'[{"a":1}},%b,%b]'])
def test_an_array_whose_brackets_do_not_match_is_refused(document: bytes) -> None:
    with pytest.raises(MalformedFileError):
        split(document % (HEAD, TAIL))


@pytest.mark.parametrize("opening", [b"[", b'{"data":[', b'{"a":'])
def test_deep_nesting_does_not_crash(opening: bytes) -> None:
    with pytest.raises(MalformedFileError):
        split(opening * 100_000)
    deep = b"[" * 100_000 + b"]" * 100_000
    assert split(b"[%b,%b]" % (deep, HEAD)) == [deep, HEAD]


# Damaged lines


def test_a_bad_line_comes_out_as_it_is_and_the_others_whole() -> None:
    bad = b'{"timestamp":NaN}'
    assert split(b"%b\n%b\n%b\n" % (HEAD, bad, TAIL)) == [HEAD, bad, TAIL]
    assert split(b"%b\n%b\n%b" % (bad, HEAD, TAIL)) == [bad, HEAD, TAIL]
    assert split(b"%b\n%b\n" % (HEAD, bad)) == [HEAD, bad]


def test_blanks_around_a_record_are_not_part_of_it() -> None:
    assert split(b"[%b , %b ,\n {oops}\t]" % (HEAD, TAIL)) == [HEAD, TAIL, b"{oops}"]
    assert split(b"%b\r\n %b\r\n" % (HEAD, TAIL)) == [HEAD, TAIL]


def test_of_two_lists_in_a_wrapper_the_one_with_records_is_taken() -> None:
    assert split(b'{"data":[ ],"history":[%b]}' % HEAD) == [HEAD]
    with pytest.raises(MalformedFileError, match="more than one list"):
        split(b'{"data":[%b],"history":[%b]}' % (HEAD, TAIL))


def test_a_bad_last_line_without_its_line_end_is_a_cut_off_file() -> None:
    with pytest.raises(MalformedFileError, match="middle of a record"):
        split(b'%b\n{"timestamp":NaN}' % HEAD)


def test_lines_of_which_the_first_two_are_no_records_are_refused() -> None:
    with pytest.raises(MalformedFileError, match="not valid JSON"):
        split(b"{oops\n{oops\n%b\n" % HEAD)


# Cut off anywhere


@pytest.mark.parametrize("layout", [*ARRAYS, *WRAPPERS])
def test_a_file_cut_at_any_byte_is_refused_unless_only_blanks_are_missing(layout: str) -> None:
    whole = (ARRAYS | WRAPPERS)[layout]
    for end in range(len(whole)):
        if whole[end:].strip():
            with pytest.raises(MalformedFileError):
                split(whole[:end])
        else:
            assert records(whole[:end]) == RECORDS


@pytest.mark.parametrize("layout", [b"[%b]", b'{"data":[%b]}'])
def test_a_damaged_array_cut_at_any_byte_is_refused(layout: bytes) -> None:
    whole = layout % b",".join([HEAD, b'{"a":NaN},garbage,{"b":"x\\"y"}', TAIL])
    assert len(split(whole)) == 5
    for end in range(len(whole)):
        with pytest.raises(MalformedFileError):
            split(whole[:end])


@pytest.mark.parametrize("layout", JSON_LINES)
def test_lines_cut_inside_a_record_are_refused_and_between_records_are_all_that_is_there(layout: str) -> None:
    whole = JSON_LINES[layout]
    ends = {0: 0} | {whole.index(text(record)) + len(text(record)): place for place, record in enumerate(RECORDS, 1)}
    complete = 0
    for end in range(len(whole)):
        complete = ends.get(end, complete)
        behind = max(place for place in ends if place <= end)
        if complete == 0 or whole[behind:end].strip():
            with pytest.raises(MalformedFileError):
                split(whole[:end])
        else:
            assert records(whole[:end]) == RECORDS[:complete]


def test_a_single_record_cut_at_any_byte_is_refused() -> None:
    for whole in (text(RECORDS[0]), text(RECORDS[0], indent=2)):
        for end in range(len(whole)):
            with pytest.raises(MalformedFileError):
                split(whole[:end])


# Compressed files


def unpacked(packed: bytes, folder: Path, *, limit_bytes: int = 10_000_000) -> bytes:
    source, target = folder / "day.json", folder / "plain.json"
    source.write_bytes(packed)
    with target.open("wb") as file:
        decompress(source, file, limit_bytes=limit_bytes)
    return target.read_bytes()


def test_gzip_is_known_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    plain, packed = tmp_path / "day.json.gz", tmp_path / "day.json"
    plain.write_bytes(LINES)
    packed.write_bytes(gzip.compress(LINES))
    assert not is_gzip(plain)
    assert is_gzip(packed)
    plain.write_bytes(b"")
    assert not is_gzip(plain)


def test_a_compressed_file_is_unpacked_whole(tmp_path: Path) -> None:
    assert unpacked(gzip.compress(LINES), tmp_path) == LINES
    assert unpacked(gzip.compress(b""), tmp_path) == b""
    assert unpacked(gzip.compress(LINES) + gzip.compress(LINES), tmp_path) == LINES * 2
    long = b"0123456789" * 300_000
    assert unpacked(gzip.compress(long), tmp_path) == long


def test_a_compressed_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(LINES)
    for end in range(1, len(packed)):
        with pytest.raises(MalformedFileError, match=r"day\.json is not a whole gzip file"):
            unpacked(packed[:end], tmp_path)


def test_a_compressed_file_whose_checksum_or_length_is_wrong_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(LINES)
    for place in range(len(packed) - 8, len(packed)):
        damaged = bytearray(packed)
        damaged[place] ^= 1
        with pytest.raises(MalformedFileError):
            unpacked(bytes(damaged), tmp_path)


@pytest.mark.parametrize("packed", [b"plain text", gzip.compress(LINES) + b"more"])
def test_what_is_not_gzip_from_end_to_end_is_refused(packed: bytes, tmp_path: Path) -> None:
    with pytest.raises(MalformedFileError):
        unpacked(packed, tmp_path)


def test_a_file_may_be_as_large_as_the_limit_and_not_a_byte_larger(tmp_path: Path) -> None:
    bomb = gzip.compress(b"0" * 5_000_000)
    assert len(unpacked(bomb, tmp_path, limit_bytes=5_000_000)) == 5_000_000
    with pytest.raises(MalformedFileError, match="more than 4,999,999 bytes"):
        unpacked(bomb, tmp_path, limit_bytes=4_999_999)


def test_a_file_over_the_limit_is_not_written_beyond_it(tmp_path: Path) -> None:
    with pytest.raises(MalformedFileError):
        unpacked(gzip.compress(b"0" * 20_000_000), tmp_path, limit_bytes=3_000_000)
    assert (tmp_path / "plain.json").stat().st_size <= 3_000_000


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    with (tmp_path / "plain.json").open("wb") as file, pytest.raises(FileNotFoundError):
        decompress(tmp_path / "absent.gz", file)
