"""Inputs that no task with a picture takes, and what is said of them."""

from __future__ import annotations

import struct
import zlib
from typing import Any

HUGE = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
BROKEN = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">IIBBBBB", 40, 40, 8, 2, 0, 0, 0)
BROKEN += struct.pack(">I", zlib.crc32(BROKEN[12:29])) + b"\x00\x00\x00\x09IDATnonsense!"

REFUSED: tuple[tuple[Any, str], ...] = (
    (17, "must be a file in base64"),
    ("", "is empty"),
    (b"", "is empty"),
    ("https://example.org/cat.png", "addresses are not fetched"),
    ("file:///etc/passwd", "addresses are not fetched"),
    ("not base64 at all", "is not base64"),
    (b"GIF89a" + bytes(50), "neither a JPEG nor a PNG"),
    (HUGE, "60000x60000 pixels"),
    (b"\x89PNG\r\n\x1a\n" + bytes(5 << 20), "at most"),
)
