"""What a face expresses and where it is turned, told from the points of its mesh alone. Pure.

For machines without MediaPipe's network of expressions. The amounts are made like that network's: ``mouth_open`` like
``jawOpen``, ``smile`` like ``mouthSmile``, ``eyes_closed`` like ``eyeBlink``; distances are taken in space and relative
to the face, so that neither its size nor where it is turned matters.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.mediapipe.parts import apart, ramp
from pipelines.interfaces.vision import Expression

Mesh = NDArray[np.floating[Any]]
"""Shape ``(478, 3)``: any unit, x to the right and y down in the picture, z away from the camera."""

_RIGHT_CHEEK, _LEFT_CHEEK, _FOREHEAD, _CHIN = 234, 454, 10, 152
"""Points of the mesh at the edges of the face; right and left as the person calls them."""
_UPPER_LIP, _LOWER_LIP, _RIGHT_CORNER, _LEFT_CORNER = 13, 14, 61, 291
_RIGHT_EYE, _LEFT_EYE = (33, 133, (160, 158), (144, 153)), (263, 362, (387, 385), (373, 380))
"""Corners, upper lid and lower lid."""
_SHUT_MOUTH, _OPEN_MOUTH = 0.04, 0.30
"""Between the lips, in heights of the face."""
_PLAIN_MOUTH, _SMILING_MOUTH = 0.355, 0.455
"""Width of the mouth, in widths of the face."""
_OPEN_EYE, _CLOSED_EYE = 0.27, 0.08
"""Between the lids, in widths of the eye."""


def expression_of_mesh(mesh: Mesh) -> Expression:
    """Expression of a face, each amount 0–1, and yaw and pitch in degrees."""
    tall = _apart(mesh, _FOREHEAD, _CHIN)
    wide = _apart(mesh, _RIGHT_CHEEK, _LEFT_CHEEK)
    return Expression(
        ramp(_apart(mesh, _UPPER_LIP, _LOWER_LIP) / tall, _SHUT_MOUTH, _OPEN_MOUTH),
        ramp(_apart(mesh, _RIGHT_CORNER, _LEFT_CORNER) / wide, _PLAIN_MOUTH, _SMILING_MOUTH),
        min(_closed(mesh, *_RIGHT_EYE), _closed(mesh, *_LEFT_EYE)),
        *turn_of_mesh(mesh),
    )


def turn_of_mesh(mesh: Mesh) -> tuple[float, float]:
    """Yaw and pitch in degrees, roughly."""
    right, left, top, bottom = mesh[[_RIGHT_CHEEK, _LEFT_CHEEK, _FOREHEAD, _CHIN]]
    yaw = math.atan2(left[2] - right[2], left[0] - right[0])
    pitch = math.atan2(top[2] - bottom[2], bottom[1] - top[1])
    return math.degrees(yaw), math.degrees(pitch)


def _closed(mesh: Mesh, outer: int, inner: int, upper: tuple[int, int], lower: tuple[int, int]) -> float:
    """How far an eye is closed."""
    gap = sum(_apart(mesh, above, below) for above, below in zip(upper, lower, strict=True)) / 2
    return ramp(gap / max(_apart(mesh, outer, inner), 1e-9), _OPEN_EYE, _CLOSED_EYE)


def _apart(mesh: Mesh, one: int, other: int) -> float:
    return max(apart(mesh[one], mesh[other]), 1e-9)
