"""Rows as JSON, put together from columns of texts by Arrow, which needs no Python for it: captures do not wait."""

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PIECE_ROWS = 5_000
# Of the values of a column, as a share, that they are worth being looked for.
_MOST_DISTINCT = 0.5
_JSON_COLUMNS = frozenset({"max_priors", "max_change", "extra"})
_read_raw = msgspec.json.Decoder(msgspec.Raw).decode


def json_pieces(rows: pa.Table) -> Iterator[bytes | memoryview]:
    """Write rows as a JSON array of objects, piece by piece. What is JSON in a row is written as that."""
    pieces = (json_lines(rows.slice(start, PIECE_ROWS)) for start in range(0, rows.num_rows, PIECE_ROWS))
    return _in_brackets(pieces)


def json_array(lines: pa.ChunkedArray) -> bytes:
    """Write rows that are JSON already as an array."""
    return b"".join(_in_brackets(lines.chunks))


def _in_brackets(pieces: Iterable[pa.StringArray]) -> Iterator[bytes | memoryview]:
    yield b"["
    is_first = True
    for lines in pieces:
        if len(lines):
            _, ends, texts = lines.buffers()
            places = np.frombuffer(ends, np.int32)[lines.offset : lines.offset + len(lines) + 1]
            yield memoryview(texts)[places[0] + is_first : places[-1]]
            is_first = False
    yield b"]"


def json_lines(rows: pa.Table) -> pa.StringArray:
    """Return each row as a JSON object with a comma before it."""
    parts: list[pa.Scalar | pa.Array] = []
    constant, separator = ",{", ""
    for name in rows.column_names:
        constant += f'{separator}"{name}":'
        separator = ","
        texts = _texts(name, rows[name].combine_chunks())
        if isinstance(texts, str):
            constant += texts
        else:
            parts += [pa.scalar(constant), texts]
            constant = ""
    ends = pa.repeat(constant + "}", rows.num_rows)
    return pc.binary_join_element_wise(*parts, ends, "")


def _texts(name: str, column: pa.Array) -> pa.StringArray | str:
    """Return the values of a column as JSON; one text when they are all the same."""
    if column.null_count == len(column):
        return "null"
    if name in _JSON_COLUMNS:
        return _checked(column).fill_null("null")
    if pa.types.is_nested(column.type):
        return _written(column).fill_null("null")
    # Most numbers and texts of an hour come again and again, and each is written once.
    found = column.dictionary_encode()
    if len(found.dictionary) > len(column) * _MOST_DISTINCT:
        return _written(column).fill_null("null")
    texts = _written(found.dictionary)
    if len(texts) == 1 and not column.null_count and texts[0].is_valid:
        return str(texts[0])
    return texts.take(found.indices).fill_null("null")


def _written(column: pa.Array) -> pa.StringArray:
    """Return values as JSON; null where there is none, and where JSON has no such number."""
    if pa.types.is_integer(column.type):
        return column.cast(pa.string())
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_finite(column), column, None).cast(pa.string())
    return pa.array([_encoded(value) for value in column.to_pylist()], pa.string())


def _checked(column: pa.StringArray) -> pa.StringArray:
    """Return texts that are JSON as they are, and others, which a user's own file may have, as JSON strings."""
    try:
        # A loop in which captures have their turns, as they would not have in one that Python does not see.
        for text in (column.drop_null() if column.null_count else column).to_pylist():
            _read_raw(text)
    except msgspec.DecodeError:
        return pa.array(
            [value if value is None or _is_json(value) else _encoded(value) for value in column.to_pylist()]
        )
    return column


def _is_json(text: str) -> bool:
    try:
        _read_raw(text)
    except msgspec.DecodeError:
        return False
    return True


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()
