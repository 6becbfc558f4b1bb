"""Pictures that a client sends as JPEG or PNG. Their size is read before they are unpacked: it may be huge."""

from __future__ import annotations

import re
import struct

import cv2
import numpy as np

from media.frames import Pixels, reduced
from pipelines.errors import VisionError
from pipelines.interfaces.llm import Image

LONGEST_SIDE = 768
"""Pixels. Models cut larger pictures into more tokens, or make them this small themselves."""
QUALITY, FINE_QUALITY = 85, 92
"""Of JPEG: for models that look at the whole, and for those who read small print."""


def smaller(pixels: Pixels, longest_side: int) -> Pixels:
    """The picture, contiguous and not larger than ``longest_side`` pixels."""
    height, width = pixels.shape[:2]
    size = reduced(width, height, longest_side)
    if size == (width, height):
        return np.ascontiguousarray(pixels)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def snapshot(pixels: Pixels, longest_side: int = LONGEST_SIDE, quality: int = QUALITY) -> Image:
    """The RGB picture as JPEG, not larger than ``longest_side`` pixels."""
    pixels = smaller(pixels, longest_side)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "OpenCV can encode any RGB picture"
    return Image(data.tobytes())


def packed(pixels: Pixels) -> bytes:
    """The RGB picture for another task to read: PNG, or JPEG of high quality where that would be too large a file."""
    bgr = cv2.cvtColor(smaller(pixels, LARGEST_SIDE), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if data.nbytes > LARGEST_FILE:
        done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert done, "OpenCV can encode any RGB picture"
    return data.tobytes()


LARGEST_FILE = 4 << 20
"""Bytes of a picture that a client sends."""
LARGEST_SIDE = 4096
"""Pixels of a side of such a picture."""
_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of the segments that hold the size."""
MOST_SEGMENTS = 200
"""Of a JPEG, before its size is told: a broken one has tens of thousands, and looking at them takes time."""
_PADDING = re.compile(rb"\xff+")


def still(data: bytes, name: str) -> Pixels:
    """RGB, shape ``(height, width, 3)``. Blocking (up to 0.2 s): call it on a worker.

    Raises :class:`VisionError` as :func:`check_still` does, and for a picture that is damaged.
    """
    check_still(data, name)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise VisionError("image_unusable", f"{name} is damaged: it cannot be unpacked")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def check_still(data: bytes, name: str) -> None:
    """Raises :class:`VisionError` (``image_unusable``), which calls the picture ``name`` and says what is legal.

    Looks at the first bytes only.
    """
    if len(data) > LARGEST_FILE:
        raise VisionError("image_unusable", f"{name} has {len(data)} bytes; at most {LARGEST_FILE} are taken")
    size = _png_size(data) or _jpeg_size(data)
    if size is None:
        raise VisionError("image_unusable", f"{name} is neither a JPEG nor a PNG")
    if not 0 < max(size) <= LARGEST_SIDE or min(size) < 1:
        has = "x".join(map(str, size))
        raise VisionError("image_unusable", f"{name} has {has} pixels; 1 to {LARGEST_SIDE} a side are taken")


def _png_size(data: bytes) -> tuple[int, int] | None:
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or data[12:16] != b"IHDR" or len(data) < 24:
        return None
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    return jpeg_size(data) if data.startswith(b"\xff\xd8") else None


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from the frame header (ITU-T T.81, B.2.2), behind up to ``MOST_SEGMENTS`` segments
    of other kinds; ``None`` where there is none."""
    place = 2
    for _ in range(MOST_SEGMENTS):
        padding = _PADDING.match(data, place)
        if padding is None or padding.end() + 8 > len(data):
            return None
        place = padding.end()  # behind the marker's 0xFF, and behind those that may precede it
        if data[place] in _JPEG_SIZES:
            height, width = struct.unpack(">HH", data[place + 4 : place + 8])
            return width, height
        place += 1 + int.from_bytes(data[place + 1 : place + 3], "big")
    return None
