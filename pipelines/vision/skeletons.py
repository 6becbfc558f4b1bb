"""The curves of what was found: brackets around faces and things, bones of hands and bodies, contours of a face.

Pure geometry: detections in, curves in pixels out. Which points are joined is MediaPipe's definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipelines.interfaces.vision import Detection

SHIFT = 3
"""Fractional bits of the coordinates."""
Curve = NDArray[np.int32]
"""Points ``(n, 2)``, x and y, in pixels with ``SHIFT`` fractional bits."""


def _chain(*points: int) -> list[tuple[int, int]]:
    return list(pairwise(points))


_HAND = np.array(
    _chain(0, 1, 2, 3, 4)
    + _chain(0, 5, 6, 7, 8)
    + _chain(9, 10, 11, 12)
    + _chain(13, 14, 15, 16)
    + _chain(0, 17, 18, 19, 20)
    + _chain(5, 9, 13, 17)
)
"""The 21 connections of a hand."""
_HEAD = _chain(8, 6, 5, 4, 0, 1, 2, 3, 7) + _chain(9, 10)
_WRISTS = _chain(15, 17, 19, 15, 21) + _chain(16, 18, 20, 16, 22)
_BODY = (
    _chain(14, 12, 11, 13, 15)
    + _chain(14, 16)
    + _chain(11, 23, 25, 27, 29, 31, 27)
    + _chain(12, 24, 26, 28, 30, 32, 28)
    + _chain(23, 24)
)
"""Connections of a body, in parts: the head is left out where a face is framed, the wrists where hands are drawn."""
_CONTOURS = (
    # lips, outside and inside
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 61),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191, 78),
    # eyes
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466, 263),
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246, 33),
    # brows
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276, 300),
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 70),
    # bridge of the nose, and its tip
    (168, 6, 197, 195, 5, 4),
    (48, 115, 220, 45, 4, 275, 440, 344, 278),
    # outline
    (
        10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10,
    ),
)  # fmt: skip
"""Contours of the face mesh."""
_DOTS = {"hand": (4, 8, 12, 16, 20), "pose": (11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)}
"""Fingertips; shoulders to wrists and hips to ankles."""
_MESH = 468
"""Points that a face mesh has at least; a face with fewer has only key points."""

_QUARTER = np.linspace(0, np.pi / 2, 5)
_ARCS = np.array([(np.cos(turn + _QUARTER), np.sin(turn + _QUARTER)) for turn in np.arange(4) * np.pi / 2])
"""Quarter circles at bottom right, bottom left, top left, top right; shape ``(4, 2, 5)``."""
_ARM, _RADIUS, _LONGEST_ARM = 0.2, 0.1, 0.12
"""Of a bracket: length and radius in sides of the box, and length in sides of the picture."""


def brackets(detections: Sequence[Detection], width: int, height: int) -> list[Curve]:
    """The four corners of each box."""
    curves: list[Curve] = []
    for found in detections:
        x, y, wide, high = found.box
        left, top, right, bottom = x * width, y * height, (x + wide) * width, (y + high) * height
        side = min(right - left, bottom - top)
        if not np.isfinite((left, top, right, bottom)).all() or side < 4:
            continue
        arm, radius = (
            min(_ARM * side, _LONGEST_ARM * min(width, height)),
            min(_RADIUS * side, 0.06 * min(width, height)),
        )
        corners = ((right, bottom, -1, -1), (left, bottom, 1, -1), (left, top, 1, 1), (right, top, -1, 1))
        for n, (cx, cy, dx, dy) in enumerate(corners):
            arc = np.array((cx + dx * radius, cy + dy * radius))[:, None] + radius * _ARCS[n]
            along, down = np.array((cx + dx * arm, cy)), np.array((cx, cy + dy * arm))
            first, last = (down, along) if n % 2 == 0 else (along, down)
            curves.append(_fixed(np.vstack((first, arc.T, last))))
    return curves


def bones(detections: Sequence[Detection], kind: str, width: int, height: int) -> list[Curve]:
    """The lines of all hands, or of all bodies, of which at least one end lies in the picture.

    Bodies lose their heads where a face was found, and their fingers where a hand was.
    """
    kinds = {found.kind for found in detections}
    lines = (
        _HAND if kind == "hand" else np.array(_BODY + _HEAD * ("face" not in kinds) + _WRISTS * ("hand" not in kinds))
    )
    curves: list[Curve] = []
    for found in detections:
        if found.kind == kind and len(found.points) > lines.max():
            shown = lines[_inside(found.points)[lines].any(axis=1)]
            curves += list(_pixels(found.points, width, height)[shown])
    return curves


def contours(faces: Sequence[Detection], width: int, height: int, *, framed: bool) -> list[Curve]:
    """Lips, eyes, brows and nose of faces with a mesh; the outline too, unless the face is ``framed`` anyway."""
    curves: list[Curve] = []
    for face in faces:
        if len(face.points) < _MESH or not _inside(face.points).any():
            continue
        points = _pixels(face.points, width, height)
        curves += [points[list(contour)] for contour in _CONTOURS[: -1 if framed else None]]
    return curves


def trails(detections: Sequence[Detection], width: int, height: int) -> list[Curve]:
    """The ways that hands and things have come; faces and bodies only sway."""
    moved = [found for found in detections if found.kind in ("hand", "object") and len(found.trail) > 1]
    return [_pixels(found.trail, width, height) for found in moved]


def joints(detections: Sequence[Detection], width: int, height: int) -> list[Curve]:
    """Eyes, ears and the like, fingertips, and the joints of limbs, as lines without length: their round ends are dots.

    A face mesh has too many points for dots.
    """
    parts = [np.zeros((0, 2), np.int32)]
    for found in detections:
        chosen = _DOTS.get(found.kind)
        points = found.points if chosen is None else found.points[[n for n in chosen if n < len(found.points)]]
        if len(points) < _MESH:
            parts.append(_pixels(points[_inside(points)], width, height))
    dots = np.concatenate(parts)
    return list(np.repeat(dots[:, None], 2, axis=1))


def _inside(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which points lie in the picture; those that do not are guesses of the model, or not numbers at all."""
    return np.asarray(((points >= 0) & (points <= 1)).all(axis=1))


def _pixels(points: NDArray[np.float32], width: int, height: int) -> Curve:
    """0–1 → pixels with fractional bits; points far outside are pulled in, OpenCV's integers are small."""
    near = np.clip(np.nan_to_num(points), -1.0, 2.0)
    return _fixed(near * np.array((width, height), np.float32))


def _fixed(points: NDArray[np.floating]) -> Curve:
    return np.asarray(np.rint(np.clip(points, -(1 << 14), 1 << 14) * (1 << SHIFT)), np.int32)
