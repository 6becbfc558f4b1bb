"""Boxes as fractions of the picture: x, y, width, height. Pure."""

from __future__ import annotations

import math

Box = tuple[float, float, float, float]


def centre(box: Box) -> tuple[float, float]:
    """Its middle."""
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0–1."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def apart(one: Box, other: Box) -> float:
    """Distance of the centres, in sizes (roots of the area) of the larger box."""
    (x, y), (u, v) = centre(one), centre(other)
    size = math.sqrt(max(one[2] * one[3], other[2] * other[3]))
    return math.hypot(x - u, y - v) / size if size else math.inf


def contains(box: Box, point: tuple[float, float]) -> bool:
    """Whether ``point`` lies in it."""
    return box[0] <= point[0] <= box[0] + box[2] and box[1] <= point[1] <= box[1] + box[3]
