"""The crop that follows whoever is before the camera, smoothly, as somebody at the camera would.

The wanted crop holds the heads (or bodies, or hands) with room around them, has the shape asked for and lies in the
picture. The crop moves only when the wanted one is clearly elsewhere, and then like a mass on a damped spring: it
starts and stops gently and does not overshoot. Pure; media time in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from media.frames import Pixels
from pipelines.interfaces.vision import Detection
from pipelines.vision.geometry import Box

_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_LONGEST_STEP = 0.25
"""Seconds that one step of the spring may take; after a longer pause it goes on from where it was."""


@dataclass(frozen=True, slots=True)
class FrameOptions:
    """How the crop is chosen and how it moves."""

    zoom: float = 2.5
    """The crop is at most this many times smaller than the picture, for its pixels' sake."""
    room: float = 3.0
    """Height of the crop in heights of a single face."""
    settle_seconds: float = 0.35
    """Time constant of the movement: nine tenths of the way take about four of these."""
    start_error: float = 0.06
    """How far off, in sizes of the crop, the crop has to be to start moving; it then moves until it is there."""
    hold_seconds: float = 2.0
    """After the last sight of anybody the crop waits this long before it widens to the whole picture."""


class AutoFrame:
    """The crop of one session."""

    def __init__(self, options: FrameOptions | None = None) -> None:
        self._options = options or FrameOptions()
        self._now = np.array([0.5, 0.5, 1.0])
        """Centre and size: width and height are the same fraction of the picture's."""
        self._speed = np.zeros(3)
        self._goal = self._now.copy()
        self._moving = False
        self._time: float | None = None
        self._seen: float | None = None

    def update(self, detections: Sequence[Detection], time: float) -> Box:
        """The crop for the picture at media time ``time``, with the newest detections; call it for every picture.

        x, y, width and height as fractions of the picture; always inside it and of its shape.
        """
        wanted = _wanted(detections, self._options)
        if wanted is not None:
            self._seen = time
        elif self._seen is not None and 0 <= time - self._seen < self._options.hold_seconds:
            wanted = self._goal
        self._goal = np.array([0.5, 0.5, 1.0]) if wanted is None else wanted
        passed = 0.0 if self._time is None else min(max(0.0, time - self._time), _LONGEST_STEP)
        self._time = time
        self._move(passed)
        return self.crop

    @property
    def crop(self) -> Box:
        """The latest crop."""
        size = min(1.0, float(self._now[2]))
        x, y = (min(max(0.0, float(middle) - size / 2), 1.0 - size) for middle in self._now[:2])
        return x, y, size, size

    def _move(self, passed: float) -> None:
        error = float(np.abs(self._goal - self._now).max()) / float(self._goal[2])
        if not self._moving and error > self._options.start_error:
            self._moving = True
        if not self._moving:
            return
        rate = 1.0 / self._options.settle_seconds  # critically damped: exact over any step, so it cannot overshoot
        offset = self._now - self._goal
        pull = self._speed + rate * offset
        fade = math.exp(-rate * passed)
        self._now = self._goal + (offset + pull * passed) * fade
        self._speed = (self._speed - rate * pull * passed) * fade
        if error < self._options.start_error / 10 and float(np.abs(self._speed).max()) < self._options.start_error / 10:
            self._moving, self._speed = False, np.zeros(3)


def _wanted(detections: Sequence[Detection], options: FrameOptions) -> NDArray[np.float64] | None:
    """Centre and size that show everybody; ``None`` where nobody is."""
    boxes = [_room(found.box, options) for found in detections if found.kind == "face"]
    for kind in ("pose", "person", "hand"):
        boxes = boxes or [found.box for found in detections if found.kind == kind]
    if not boxes:
        return None
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    size = min(1.0, max(1.0 / options.zoom, right - left, bottom - top))
    x, y = ((low + high) / 2 for low, high in ((left, right), (top, bottom)))
    inside = [min(max(middle, size / 2), 1.0 - size / 2) for middle in (x, y)]
    return np.array([*inside, size])


def _room(face: Box, options: FrameOptions) -> Box:
    """A face with its surroundings: the eyes end up in the upper third."""
    x, y, width, height = face
    tall = options.room * height
    across = x + width / 2
    return across - tall / 2, y + height / 2 - 0.42 * tall, tall, tall


def cropped(pixels: Pixels, crop: Box, size: tuple[int, int] | None = None) -> Pixels:
    """The part of ``pixels`` (RGB) in ``crop``, scaled to ``size`` (width, height) if it is given."""
    height, width = pixels.shape[:2]
    if crop == _WHOLE and size in (None, (width, height)):
        return pixels
    left, top = min(round(crop[0] * width), width - 1), min(round(crop[1] * height), height - 1)
    right = max(left + 1, min(width, round((crop[0] + crop[2]) * width)))
    bottom = max(top + 1, min(height, round((crop[1] + crop[3]) * height)))
    part = pixels[top:bottom, left:right]
    if size is None:
        return np.ascontiguousarray(part)
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def in_crop(detections: Sequence[Detection], crop: Box) -> tuple[Detection, ...]:
    """The same detections as fractions of the crop, so that they can be drawn onto it."""
    x, y, width, height = crop
    origin, size = np.array([x, y], np.float32), np.array([width, height], np.float32)
    return tuple(
        replace(
            found,
            box=(
                (found.box[0] - x) / width,
                (found.box[1] - y) / height,
                found.box[2] / width,
                found.box[3] / height,
            ),
            points=(found.points - origin) / size,
            trail=(found.trail - origin) / size,
            mask=None if found.mask is None else _mask_in(found.mask, crop),
        )
        for found in detections
    )


def _mask_in(mask: NDArray[np.uint8], crop: Box) -> NDArray[np.uint8]:
    rows, columns = mask.shape
    top, left = int(crop[1] * rows), int(crop[0] * columns)
    bottom, right = max(top + 1, math.ceil((crop[1] + crop[3]) * rows)), math.ceil((crop[0] + crop[2]) * columns)
    return mask[top:bottom, left : max(left + 1, right)]
