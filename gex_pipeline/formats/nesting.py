"""How deep JSON may be nested: far less than any parser's own limit, which depends on who calls it from where."""

import re

import numpy as np

from gex_pipeline.errors import RecordError

MAX_LEVELS = 100

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[]{}", b"\x01\xff\x01\xff")


def count_openings(body: bytes) -> int:
    """Return how many brackets open in a text: it is nested no deeper than that."""
    return body.count(b"[") + body.count(b"{")


def check_nesting(body: bytes) -> None:
    """Accept JSON of at most MAX_LEVELS arrays and objects in each other.

    Raises:
        RecordError: it is nested deeper.
    """
    if count_openings(body) <= MAX_LEVELS:
        return
    steps = _STRING.sub(b"", body).translate(_STEPS, _OTHERS)
    levels = np.frombuffer(steps, np.int8).cumsum(dtype=np.int64).max(initial=0)
    if levels > MAX_LEVELS:
        raise RecordError.of("", body[:60].decode(errors="replace"), f"JSON of at most {MAX_LEVELS} levels")
