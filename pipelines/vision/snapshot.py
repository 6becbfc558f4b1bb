"""A picture for a language model: small enough to be read quickly, as JPEG. Pure; about 3 ms at 640x480."""

from __future__ import annotations

import cv2
import numpy as np

from media.frames import Pixels
from pipelines.ports import Image

LONGEST_SIDE = 768
"""Pixels. Models cut larger pictures into more tokens, or make them this small themselves."""
QUALITY = 85


def snapshot(pixels: Pixels, longest_side: int = LONGEST_SIDE) -> Image:
    """The RGB picture as JPEG, not larger than ``longest_side`` pixels."""
    height, width = pixels.shape[:2]
    scale = longest_side / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done, "OpenCV can encode any RGB picture"
    return Image(data.tobytes())
