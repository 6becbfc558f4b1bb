"""What moves goes on: frames after the last one, from the movement between two. Pure, on numpy and OpenCV.

Dense optical flow (Kroeger et al. 2016, DIS) tells the velocity of every pixel. It is carried along with what moves and
dies away, as nothing moves straight on for long. How much a frame is to be trusted falls with the time ahead, with the
disagreement of the flow forward and backward, and with what has moved in from outside the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from media.frames import Pixels

Field = NDArray[np.float32]
"""Shape ``(height, width, 2)``: x and y, in pixels."""

DAMPING = 0.3
"""Of a velocity, what is left after a second: half a second of movement in all, however long the video."""
TRUST = 0.25
"""Of the confidence, what is left after a second of a movement that is seen perfectly."""
STILL = 0.15
"""Pixels between two frames: less is noise of the camera, and stands still."""
_AGREEMENT = 1.0
"""Pixels by which the flow forward and backward may differ before a pixel counts for 1/e."""
_SMOOTH = 5
"""Side of the window in which single wrong vectors are outvoted."""
_LEAST_SIDE = 16
"""Pixels. DIS compares patches of 8x8 in pictures of half the size and less. For smaller ones it picks the sizes by the
width alone: a patch may have no room, and it raises an error or reads beyond the picture, which ends the process."""
_NO_MAP: Any = None
"""OpenCV takes x and y as one map, or as two; its stubs know only of two."""


@dataclass(frozen=True, slots=True, eq=False)
class Movement:
    """What two pictures tell."""

    velocity: Field
    """Pixels a second, of what each pixel of the second picture shows."""
    agreement: float
    """0–1: how well the flow forward and backward agree where something moves; 1 where nothing does."""

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return not self.velocity.any()


def movement(earlier: Pixels, later: Pixels, seconds: float) -> Movement:
    """The movement between two pictures of the same size that are ``seconds`` apart.

    There is none in pictures so small or narrow that nothing can be followed in them.
    """
    if min(later.shape[:2]) < _LEAST_SIDE:
        return Movement(np.zeros((*later.shape[:2], 2), np.float32), 1.0)
    before, after = (np.asarray(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), np.uint8) for one in (earlier, later))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    nothing = np.zeros((*after.shape, 2), np.float32)
    back = np.asarray(flow.calc(after, before, nothing.copy()), np.float32)
    forth = np.asarray(flow.calc(before, after, nothing), np.float32)
    there = _sampled(forth, _grid(back) + back)
    error = np.linalg.norm(there + back, axis=2)
    moved = np.stack([cv2.medianBlur(np.ascontiguousarray(-back[..., n]), _SMOOTH) for n in (0, 1)], axis=2)
    moves = np.linalg.norm(moved, axis=2) >= STILL
    moved[~moves] = 0.0
    agreement = float(np.exp(-error[moves] / _AGREEMENT).mean()) if moves.any() else 1.0
    return Movement((moved / seconds).astype(np.float32), agreement)


def extrapolated(last: Pixels, moving: Movement, fps: float, frames: int) -> Iterator[tuple[Pixels, float]]:
    """The ``frames`` after ``last``, each with its confidence, 0–1."""
    keep = float(DAMPING ** (1 / fps))
    grid = _grid(moving.velocity)
    height, width = last.shape[:2]
    source, step = grid.copy(), moving.velocity / fps
    for n in range(1, frames + 1):
        step = _sampled(step, grid - step) * keep
        source = _traced(source, grid - step)
        picture = cv2.remap(last, source, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        x, y = source[..., 0], source[..., 1]
        known = float(((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)).mean())
        trust = 1.0 if moving.still else moving.agreement * known
        yield np.asarray(picture, np.uint8), trust * float(TRUST ** (n / fps))


def _grid(like: Field) -> Field:
    rows, columns = np.mgrid[0 : like.shape[0], 0 : like.shape[1]].astype(np.float32)
    return np.stack([columns, rows], axis=2)


def _sampled(field: Field, places: Field) -> Field:
    """The field where ``places`` point to; beyond its edge as at the edge."""
    mode = cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(field, places, _NO_MAP, cv2.INTER_LINEAR, borderMode=mode), np.float32)


def _traced(source: Field, places: Field) -> Field:
    """Where in the last picture that is from which comes to ``places``; beyond the edge it goes on evenly."""
    height, width = source.shape[:2]
    inside = np.stack([places[..., 0].clip(0, width - 1), places[..., 1].clip(0, height - 1)], axis=2)
    there: Field = _sampled(source, inside) + (places - inside)
    return there
