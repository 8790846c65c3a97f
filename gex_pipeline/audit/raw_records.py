"""Random records of a raw history file, found by their timestamps in bounded memory."""

import mmap
import random
from collections.abc import Callable, Iterator, Sequence

from gex_pipeline.audit.plain_reading import BadRecordError, load, read_time
from gex_pipeline.formats.history_file import Piece, Record, UnsoundArrayError, split_array, split_document

Place = tuple[Callable[[], Sequence[Record]], int]


def sample_records(document: mmap.mmap, count: int, random_numbers: random.Random) -> dict[int, str]:
    """Return the text of random records by their timestamps, of several with the same one the first."""
    try:
        places = _places(split_array(document))
    except UnsoundArrayError:
        places = _places(split_document(document))
    chosen = random_numbers.sample(sorted(places), min(count, len(places)))
    return {moment: _text_at(*places[moment]) for moment in sorted(chosen)}


def _places(pieces: Iterator[Piece]) -> dict[int, Place]:
    """Return where the record of each timestamp is; a piece's text is only kept by the one who reads it again."""
    places: dict[int, Place] = {}
    for piece in pieces:
        for index, fields in enumerate(piece.fields):
            if fields is not None and "timestamp" in fields:
                try:
                    moment = read_time(load(bytes(fields["timestamp"]).decode()))
                except (BadRecordError, ValueError):
                    continue
                places.setdefault(moment, (piece.read_records, index))
    return places


def _text_at(read_records: Callable[[], Sequence[Record]], index: int) -> str:
    return bytes(read_records()[index]).decode()
