"""Where lines of text are, from what a detector of text gives: a probability for each pixel. Pure geometry.

The detector is a network with differentiable binarisation (Liao et al., "Real-time scene text detection with
differentiable binarization", 2020): it marks the inner part of each line, which is grown back to the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from media.frames import Pixels

_MARKED = 0.3
"""Probability from which a pixel counts as text."""
_SURE = 0.5
"""Mean probability below which a region is none."""
_GROWTH = 1.6
"""How much of area / perimeter the inner part is smaller on each side."""
_SMALLEST = 3.0
"""Pixels of the shorter side of a marked region, in the detector's picture."""
MOST_REGIONS = 400
"""A page has less; noise can have any number, and each costs time."""
_UPRIGHT = 1.5
"""A region that is higher than wide by this factor is a line that runs upwards."""
_SAME_ROW = 0.5
"""Of the height of the lower one: centres that are closer belong to one row."""

Corners = NDArray[np.float32]
"""Shape ``(4, 2)``, in pixels: where the line begins above, ends above, ends below, begins below."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A line of text in the picture, or a part of one."""

    corners: Corners
    score: float
    """Of the detector, 0–1."""

    @property
    def height(self) -> float:
        """Pixels, of the line."""
        return float(np.linalg.norm(self.corners[3] - self.corners[0]))

    @property
    def width(self) -> float:
        """Pixels, along the line."""
        return float(np.linalg.norm(self.corners[1] - self.corners[0]))

    @property
    def turned(self) -> Region:
        """The same read from the other end."""
        return replace(self, corners=np.roll(self.corners, 2, axis=0))


def regions(probabilities: NDArray[np.float32], width: int, height: int) -> list[Region]:
    """The lines in a picture of ``width`` × ``height``; ``probabilities`` may have another size."""
    marked = (probabilities > _MARKED).astype(np.uint8)
    outlines, _ = cv2.findContours(marked, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    scale = np.array([width / probabilities.shape[1], height / probabilities.shape[0]], np.float32)
    found = []
    for outline in sorted(outlines, key=len, reverse=True)[:MOST_REGIONS]:
        centre, (across, along), angle = cv2.minAreaRect(outline)
        if min(across, along) < _SMALLEST:
            continue
        score = _mean_within(probabilities, np.asarray(cv2.boxPoints((centre, (across, along), angle)), np.float32))
        if score < _SURE:
            continue
        growth = _GROWTH * across * along / (across + along)  # area / (half of) the perimeter: half on each side
        grown = cv2.boxPoints((centre, (across + growth, along + growth), angle))
        found.append(Region(_from_the_beginning(np.asarray(grown, np.float32) * scale), score))
    return found


def _mean_within(probabilities: NDArray[np.float32], corners: NDArray[np.float32]) -> float:
    left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int) + 1
    part = probabilities[top:bottom, left:right]
    mask = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(mask, [(corners - (left, top)).astype(np.int32)], 1)
    return float(cv2.mean(part, mask)[0])


def _from_the_beginning(corners: Corners) -> Corners:
    """The corners clockwise from where a reader begins, as far as the shape tells: to the right, or upwards."""
    one, other = corners[1] - corners[0], corners[2] - corners[1]
    if one[0] * other[1] - one[1] * other[0] < 0:
        corners = corners[::-1]
    sides = [corners[(n + 1) % 4] - corners[n] for n in range(4)]
    lengths = [float(np.linalg.norm(side)) for side in sides]
    level = 0 if abs(sides[0][0]) >= abs(sides[1][0]) else 1  # the pair of sides that lies flatter
    if lengths[level + 1] > _UPRIGHT * lengths[level]:
        level = 1 - level
    x, y = sides[level]
    steep = abs(y) > abs(x)
    begins = level if (y < 0 if steep else x > 0) else (level + 2) % 4
    return np.ascontiguousarray(np.roll(corners, -begins, axis=0))


def cut_out(pixels: Pixels, region: Region, height: int, longest: int) -> Pixels:
    """The line, straightened, ``height`` pixels high and ``longest`` wide at most."""
    width = int(np.clip(round(height * region.width / max(region.height, 1.0)), height // 2, longest))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    transform = cv2.getPerspectiveTransform(region.corners, target)
    shrinks = region.height > 2 * height
    if not shrinks:
        return np.asarray(
            cv2.warpPerspective(pixels, transform, (width, height), flags=cv2.INTER_CUBIC, borderMode=_BORDER), np.uint8
        )
    factor = region.height / height  # large letters are averaged, not sampled
    large = (round(width * factor), round(height * factor))
    target = target * np.array([large[0] / width, large[1] / height], np.float32)
    transform = cv2.getPerspectiveTransform(region.corners, target)
    straight = cv2.warpPerspective(pixels, transform, large, flags=cv2.INTER_LINEAR, borderMode=_BORDER)
    return np.asarray(cv2.resize(straight, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


_BORDER = cv2.BORDER_REPLICATE


def rows(found: Sequence[Region]) -> list[list[int]]:
    """Indices of the regions in reading order: rows from above, each from where it begins.

    Above is what is above for a reader of most of the lines, however the picture was taken.
    """
    if not found:
        return []
    along = np.sum([region.corners[1] - region.corners[0] for region in found], axis=0)
    along = along / max(float(np.linalg.norm(along)), 1e-6)
    down = np.array([-along[1], along[0]])
    middles = [region.corners.mean(axis=0) for region in found]
    depth = [float(middle @ down) for middle in middles]
    lines: list[list[int]] = []
    for n in sorted(range(len(found)), key=depth.__getitem__):
        if lines:
            row = lines[-1]
            nearest = min(row, key=lambda one: abs(float((middles[one] - middles[n]) @ along)))
            if abs(depth[n] - depth[nearest]) < _SAME_ROW * min(found[n].height, found[nearest].height):
                row.append(n)
                continue
        lines.append([n])
    for row in lines:
        row.sort(key=lambda one: float(middles[one] @ along))
    return lines
