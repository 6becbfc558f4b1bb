"""A camera that comes slowly closer: what can be shown of one picture in which nothing tells what moves. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from media.frames import Pixels

CLOSER = 1.18
"""How much larger the middle is in the end."""


def pushed_in(picture: Pixels, frames: int) -> Iterator[Pixels]:
    """The ``frames`` after ``picture``: it begins and ends gently."""
    height, width = picture.shape[:2]
    middle = ((width - 1) / 2, (height - 1) / 2)
    for n in range(1, frames + 1):
        way = n / frames
        scale = CLOSER ** (way * way * (3 - 2 * way))
        turn = cv2.getRotationMatrix2D(middle, 0.0, scale)
        near = cv2.warpAffine(picture, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        yield np.asarray(near, np.uint8)
