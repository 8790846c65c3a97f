"""History files: one document with a trading day of snapshots, split into raw records without building objects."""

import gzip
import mmap
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import IO

import msgspec

from gex_pipeline.errors import MalformedFileError

GZIP_MAGIC = b"\x1f\x8b"
MAX_DECOMPRESSED_BYTES = 4 * 1024**3
# About 300 snapshots: enough for the work on columns, and little enough that the thread which writes Parquet is not
# kept waiting for Python's lock.
PIECE_BYTES = 2_000_000
PIECE_RECORDS = 300
_WRAPPERS = ("data", "history", "frames", "results")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"
_array = msgspec.json.Decoder(list[msgspec.Raw])
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_WRAPPER = re.compile(rb'\s*\{\s*"(?:' + "|".join(_WRAPPERS).encode() + rb')"\s*:\s*\[')
_LADDER_KEY = b'"strikes":'
_BETWEEN = re.compile(rb"\}\s*,\s*\{")
_LINE = re.compile(rb"[^\n]*[^\s][^\n]*")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|["{}\[\],]', re.DOTALL)

Record = msgspec.Raw | memoryview
Fields = dict[str, msgspec.Raw]


def is_gzip(path: Path) -> bool:
    """Tell by the first two bytes; names lie."""
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


def decompress(source: Path, target: IO[bytes], *, limit_bytes: int = MAX_DECOMPRESSED_BYTES) -> None:
    """Write the plain bytes of a gzip file.

    Raises:
        MalformedFileError: the stream is damaged or cut off, or grows over the limit.
    """
    written = 0
    try:
        with gzip.open(source) as stream:
            while chunk := stream.read(1 << 20):
                written += len(chunk)
                if written > limit_bytes:
                    raise MalformedFileError(f"{source.name} decompresses to more than {limit_bytes:,} bytes")
                target.write(chunk)
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise MalformedFileError(f"{source.name} is not a whole gzip file: {error}; download it again") from error


def split_records(document: memoryview) -> Iterable[Record]:
    """Split an array, JSON lines or a wrapper object into its records, as slices of the document.

    A record that is not valid JSON comes out as it is, for the caller to refuse.

    Raises:
        MalformedFileError: the document has no such shape, or ends in the middle of one. Raised as late as at
            the last record, so the caller must not publish anything before the iteration ends.
    """
    document = _without_mark(document)
    start = _first_byte(document)
    if start == b"[":
        return _split_array(document)
    if start == b"{":
        return _split_object(document)
    raise MalformedFileError(f"a JSON array, JSON lines or an object was expected, found {_shown(document)}")


class UnsoundArrayError(Exception):
    """A document is not, from end to end, an array of objects; `split_document` has to look at it."""


@dataclass(frozen=True)
class Piece:
    """Some records that follow each other.

    Attributes:
        fields: the fields of each record; None for one that is no JSON object. Where a ladder turns out not to be
            valid JSON they are not to be trusted, not even their number.
        read_records: returns each record as it came, when somebody asks.
    """

    fields: Sequence[Fields | None]
    read_records: Callable[[], Sequence[Record]]


def split_array(document: mmap.mmap) -> Iterator[Piece]:
    """Split a sound array of objects piece by piece, so that work on one can begin before the next is looked at.

    A piece ends somewhere between two braces. If that was not between two records, the piece is not valid by itself,
    and where all pieces are valid the document is, with just these records.

    Raises:
        UnsoundArrayError: at any piece; what came before must not be used.
    """
    start = 3 if document[:3] == _BYTE_ORDER_MARK else 0
    if _first_byte(memoryview(document)[start:]) != b"[":
        raise UnsoundArrayError
    start = document.find(b"[") + 1
    end = document.rfind(b"]")
    if end < start or document[end + 1 :].strip(_BLANKS):
        raise UnsoundArrayError
    while start < end:
        between = _BETWEEN.search(document, min(start + PIECE_BYTES, end), end)
        stop = between.start() + 1 if between else end
        try:
            yield Piece(_decode_objects(document[start:stop]), partial(_decode_records, document, start, stop))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UnsoundArrayError from error
        start = between.end() - 1 if between else end


def split_document(document: mmap.mmap) -> Iterator[Piece]:
    """Split a document of any shape. Errors are those of `split_records`."""
    records = list(split_records(memoryview(document)))
    for start in range(0, len(records), PIECE_RECORDS):
        some = records[start : start + PIECE_RECORDS]
        yield Piece(list(map(read_fields, some)), partial(list, some))


def _decode_objects(text: bytes) -> list[Fields]:
    """Decode objects with commas between them, without a look into their ladders where these can be cut out.

    Ladders are nine tenths of a file, and whoever reads them validates them. One that is valid was cut out right, as
    no array goes on after its last bracket.
    """
    head, *rest = text.split(_LADDER_KEY)
    ends = [part.rfind(b"]]]") + 3 for part in rest]
    others = [head, *(part[end:] for part, end in zip(rest, ends, strict=True))]
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        objects = _objects.decode(b"[" + (_LADDER_KEY + b"0").join(others) + b"]")
        if len(objects) == len(ends) and all(bytes(fields.get("strikes", b"")) == b"0" for fields in objects):
            for fields, part, end in zip(objects, rest, ends, strict=True):
                fields["strikes"] = msgspec.Raw(memoryview(part)[:end])
            return objects
    return _objects.decode(b"[" + text + b"]")


def _decode_records(document: mmap.mmap, start: int, stop: int) -> Sequence[Record]:
    try:
        return _array.decode(b"[" + document[start:stop] + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnsoundArrayError from error


def read_fields(record: Record) -> Fields | None:
    """Split one record into its fields; None when it is no JSON object."""
    try:
        return _object.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _split_array(document: memoryview) -> Iterable[Record]:
    try:
        return _array.decode(document)
    except (msgspec.DecodeError, RecursionError):
        return _split_damaged_array(document)


def _split_object(document: memoryview) -> Iterable[Record]:
    try:
        fields = _object.decode(document)
    except (msgspec.DecodeError, RecursionError):
        if wrapper := _WRAPPER.match(document):
            return _split_damaged_array(document[wrapper.end() - 1 :], is_wrapped=True)
        return _split_lines(document)
    values = [memoryview(fields[name]) for name in _WRAPPERS if name in fields]
    lists = [value for value in values if _first_byte(value) == b"["]
    filled = [value for value in lists if _first_byte(value[1:]) != b"]"]
    if len(filled) > 1:
        raise MalformedFileError(f"there is more than one list of records, under {', '.join(fields)}")
    return _split_array((filled or lists)[0]) if lists else [document]


def _without_mark(document: memoryview) -> memoryview:
    return document[3:] if bytes(document[:3]) == _BYTE_ORDER_MARK else document


def _split_lines(document: memoryview) -> Iterator[Record]:
    """Split at line ends. One line that is not a record is the caller's to judge; a cut-off last line is not."""
    lines = (_stripped(document[line.start() : line.end()]) for line in _LINE.finditer(document))
    head = list(islice(lines, 2))
    if not any(read_fields(line) is not None for line in head):
        raise MalformedFileError(f"the document is not valid JSON: it begins with {_shown(document)}")
    last = head[0]
    for line in chain(head[1:], lines):
        yield last
        last = line
    if bytes(document[-1:]) != b"\n" and read_fields(last) is None:
        raise MalformedFileError("the file ends in the middle of a record; download it again")
    yield last


def _split_damaged_array(document: memoryview, *, is_wrapped: bool = False) -> Iterator[Record]:
    """Find the elements of an array that is not valid JSON as a whole, so that only its bad records suffer."""
    depth, start = 0, 0
    end_of_array: int | None = None
    for token in _TOKEN.finditer(document):
        symbol = document[token.start()]
        if symbol == ord('"') and token.end() - token.start() == 1:
            raise MalformedFileError("the file ends in the middle of a text; download it again")
        if symbol in b"{[":
            depth += 1
            if depth == 1:
                start = token.end()
        elif symbol in b"}]":
            depth -= 1
        if depth == 0 or (depth == 1 and symbol == ord(",")):
            if element := _stripped(document[start : token.start()]):
                yield element
            start = token.end()
        if depth == 0:
            end_of_array = token.end()
            break
    if end_of_array is None:
        raise MalformedFileError("the file ends in the middle of the array; download it again")
    rest = bytes(document[end_of_array:]).strip(_BLANKS)
    if (
        is_wrapped
        and rest != b"}"
        and not (rest[:1] == b"," and read_fields(memoryview(b"{" + rest[1:])) is not None)
    ):
        raise MalformedFileError(f"the wrapper does not end after its array: {_shown(document[end_of_array:])}")
    if rest and not is_wrapped:
        raise MalformedFileError(f"there is more after the end of the array: {_shown(document[end_of_array:])}")


def _stripped(text: memoryview) -> memoryview:
    content = bytes(text)
    return text[len(content) - len(content.lstrip(_BLANKS)) : len(content.rstrip(_BLANKS))]


def _first_byte(text: memoryview) -> bytes:
    """Return the first byte that is not blank; empty when there is none."""
    for start in range(0, len(text), 4096):
        if stripped := bytes(text[start : start + 4096]).lstrip(_BLANKS):
            return stripped[:1]
    return b""


def _shown(text: memoryview) -> str:
    return repr(bytes(text[:40]).decode(errors="replace"))
