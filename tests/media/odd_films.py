"""Films as some devices and some attackers make them: filmed sideways, begun long ago, larger than they say."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np

from media.frames import Pixels

WIDTH, HEIGHT = 96, 64
_CORNERS = np.array([[40, 100], [220, 160]], np.uint8)
"""Brightness of the quarters of the picture as it is encoded."""
_ONE = 1 << 16
_TURNS = {
    "upright": (_ONE, 0, 0, _ONE),
    "clockwise": (0, _ONE, -_ONE, 0),
    "upside down": (-_ONE, 0, 0, -_ONE),
    "counterclockwise": (0, -_ONE, _ONE, 0),
    "mirrored": (-_ONE, 0, 0, _ONE),
    "mirrored, clockwise": (0, -_ONE, -_ONE, 0),
}
"""How it is to be turned: a, b, c and d of the matrix of its track."""
WAYS = [
    ("upright", 0, False),
    ("clockwise", 3, False),
    ("upside down", 2, False),
    ("counterclockwise", 1, False),
    ("mirrored", 0, True),
    ("mirrored, clockwise", 3, True),
]
"""Name, quarters counterclockwise, and whether it is mirrored before that."""
_TICKS = Fraction(1, 10)


def lying(way: str) -> bytes:
    """A film of four quarters of different brightness that is to be turned when it is shown."""
    quarters = np.kron(_CORNERS, np.ones((HEIGHT // 2, WIDTH // 2), np.uint8))
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.dstack([quarters] * 3), format="rgb24")))
        container.mux(stream.encode(None))
    data = bytearray(file.getvalue())
    matrix = data.index(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2, version 0
    a, b, c, d = _TURNS[way]
    data[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return bytes(data)


def corners(pixels: Pixels) -> list[list[int]]:
    """The brightness of a picture's quarters, from 0 (the darkest) to 3."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    means = [pixels[y : y + height, x : x + width].mean() for y in (0, height) for x in (0, width)]
    return np.argsort(np.argsort(means)).reshape(2, 2).tolist()


def turned_corners(quarters: int, mirrored: bool) -> list[list[int]]:
    """What :func:`corners` gives of the picture as it is to be shown."""
    encoded = _CORNERS[:, ::-1] if mirrored else _CORNERS
    shown = np.rot90(encoded, quarters)
    return np.argsort(np.argsort(shown.ravel())).reshape(2, 2).tolist()


def beginning_at(first: float, sound_after: float) -> bytes:
    """MPEG-TS with a second of pictures from ``first`` seconds on, and a second of sound so much later."""
    file, rate = io.BytesIO(), 48_000
    with av.open(file, "w", format="mpegts") as container:
        seen: Any = container.add_stream("libx264", rate=10)
        seen.width, seen.height, seen.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        seen.codec_context.time_base = _TICKS
        heard: Any = container.add_stream("aac", rate=rate)
        heard.codec_context.layout = "mono"
        for n in range(10):
            picture = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 20 * n, np.uint8), format="rgb24")
            picture.pts, picture.time_base = round(10 * first) + n, _TICKS
            container.mux(seen.encode(picture))
        container.mux(seen.encode(None))
        for n in range(47):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.rate, sound.time_base = rate, Fraction(1, rate)
            sound.pts = round((first + sound_after) * rate) + 1024 * n
            container.mux(heard.encode(sound))
        container.mux(heard.encode(None))
    return file.getvalue()


def with_a_large_picture(told: tuple[int, int], large: tuple[int, int]) -> bytes:
    """MOV of PNG pictures with the width and height that its header tells, and a last one of another size."""
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as container:
        stream: Any = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = *told, "rgb24"
        for n, (width, height) in enumerate([told] * 12 + [large]):
            done, data = cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))
            assert done
            packet: Any = av.Packet(data.tobytes())
            packet.stream, packet.pts, packet.dts, packet.time_base, packet.is_keyframe = stream, n, n, _TICKS, True
            container.mux(packet)
    return file.getvalue()
