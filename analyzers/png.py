"""Pictures as PNG, the same bytes for the same pixels.

Written by hand because what a library adds (its version, a date) would differ from one machine to the next, and because
whoever only reads results should not have to load a plotting library.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COMPRESSION_LEVEL = 6


def write_rgb(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write a picture of shape (rows, columns, 3) (PNG, ISO/IEC 15948: truecolour, 8 bits, not interlaced)."""
    rows, columns, _ = rgb.shape
    header = struct.pack(">2I5B", columns, rows, 8, 2, 0, 0, 0)
    # Each line begins with its filter; 2 predicts from the line above, which suits images on a plain ground.
    lines = np.empty((rows, 1 + 3 * columns), np.uint8)
    lines[:, 0] = 2
    flat = rgb.reshape(rows, 3 * columns)
    lines[:, 1:] = flat
    lines[1:, 1:] -= flat[:-1]
    body = zlib.compress(lines.tobytes(), _COMPRESSION_LEVEL)
    path.write_bytes(_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
