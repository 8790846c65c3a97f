"""PNG with a palette, written with zlib alone."""

import struct
import zlib

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EIGHT_BITS_OF_PALETTE = (8, 3, 0, 0, 0)


def indexed_png(pixels: Bytes, palette: Bytes) -> bytes:
    """Return an image as a PNG file.

    Args:
        pixels: index of each pixel's colour; shape (rows from the top, columns). Index 0 is transparent.
        palette: red, green and blue of each index; shape (at most 256, 3).
    """
    rows, columns = pixels.shape
    # Each line begins with its filter. 1 writes what a pixel is more than the one before, modulo 256: mostly nothing.
    scanlines = np.ones((rows, columns + 1), np.uint8)
    scanlines[:, 1:] = np.diff(pixels, axis=1, prepend=np.uint8(0))
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, *_EIGHT_BITS_OF_PALETTE)),
            _chunk(b"PLTE", palette.tobytes()),
            _chunk(b"tRNS", b"\x00"),
            _chunk(b"IDAT", zlib.compress(scanlines.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
