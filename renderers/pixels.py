"""PNG: small pictures as an address that holds them."""

from __future__ import annotations

import base64
import struct
import zlib

COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's number for grey, grey with opacity, colours, and colours with opacity, by bytes of a pixel."""


def png_url(width: int, height: int, channels: int, pixels: bytes) -> str:
    """Return a ``data:`` address of a picture with `channels` bytes a pixel.

    Examples
    --------
    >>> png_url(1, 1, 1, bytes([255]))[:32]
    'data:image/png;base64,iVBORw0KGg'
    """
    long = width * channels
    rows = b"".join(b"\0" + pixels[start : start + long] for start in range(0, height * long, long))
    head = struct.pack(">IIBBBBB", width, height, 8, COLOURS[channels], 0, 0, 0)
    chunks = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
