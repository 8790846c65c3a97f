"""What a picture shows, read back from its SVG and PNG."""

import base64
import re
import struct
import xml.etree.ElementTree as ET
import zlib
from dataclasses import dataclass
from urllib.parse import unquote

import numpy as np

from gex_pipeline.pictures.png import Bytes

_TAG = "{http://www.w3.org/2000/svg}"
_IMAGE = re.compile(r"!\[([^\]]+)\]\(data:image/svg\+xml,([^\s()<>\"]+)\)")


@dataclass
class Seen:
    """A picture taken apart.

    Attributes:
        alt: its text in Markdown.
        texts: every text in it.
        paths: the points of each line by its colour, in pixels, in pieces; straight ones are left out.
        areas: the `d` of what is filled first in each colour; what follows is the legend.
        heat_map: red, green, blue and opacity of each cell, the highest price first; empty without one.
    """

    alt: str
    texts: list[str]
    paths: dict[str, list[list[tuple[int, int]]]]
    areas: dict[str, str]
    heat_map: Bytes


def see(markdown: str) -> Seen:
    """Take an image in Markdown apart, which must be one that a browser can show."""
    found = _IMAGE.fullmatch(markdown)
    assert found, markdown[:200]
    root = ET.fromstring(unquote(found[2]))  # noqa: S314 - our own
    texts = ["".join(each.itertext()) for each in root.iter(f"{_TAG}text")]
    paths: dict[str, list[list[tuple[int, int]]]] = {}
    areas: dict[str, str] = {}
    for each in root.iter(f"{_TAG}path"):
        if each.get("fill"):
            areas.setdefault(each.attrib["fill"], each.attrib["d"])
        elif "l" in each.attrib["d"]:
            paths.setdefault(each.attrib["stroke"], []).extend(_points(each.attrib["d"]))
    images = [each.attrib["href"] for each in root.iter(f"{_TAG}image")]
    pixels = (
        read_png(base64.b64decode(images[0].partition("base64,")[2])) if images else np.empty((0, 0, 4), np.uint8)
    )
    return Seen(found[1], texts, paths, areas, pixels)


def read_png(content: bytes) -> Bytes:
    """Decode a PNG with a palette into red, green, blue and opacity; shape (rows, columns, 4)."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        body = content[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0]
        chunks[kind] = body
        at += 12 + length
    columns, rows, depth, colour, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colour) == (8, 3)
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(rows, columns + 1)
    assert set(lines[:, 0].tolist()) == {1}
    indexes = np.add.accumulate(lines[:, 1:], axis=1, dtype=np.uint8)
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    opacity = np.full((len(palette), 1), 255, np.uint8)
    opacity[: len(chunks[b"tRNS"]), 0] = np.frombuffer(chunks[b"tRNS"], np.uint8)
    return np.hstack([palette, opacity])[indexes]


def _points(path: str) -> list[list[tuple[int, int]]]:
    """Return the points of each piece of a path that begins with M and goes on with relative steps."""
    pieces = []
    for piece in path.split("M")[1:]:
        numbers = [int(number) for number in re.findall(r"-?\d+", piece)]
        pieces.append(np.cumsum(np.array(numbers[: len(numbers) // 2 * 2]).reshape(-1, 2), axis=0))
    return [[(int(x), int(y)) for x, y in piece] for piece in pieces]
