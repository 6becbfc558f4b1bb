"""Draws what was found onto the picture: boxes, key points and skeletons that can be seen on light and dark.

Everything of one colour and width goes into one OpenCV call. Pure; 0.4 ms for a face, two hands and a body at 640x480.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from media.frames import Pixels
from pipelines.ports import Detection, DetectionKind

_Segments = NDArray[np.int32]
"""Lines, shape ``(n, 2, 2)``: start and end, x and y, in pixels with ``_SHIFT`` fractional bits."""

_SHIFT = 3
_SMALLEST = 32
"""Pixels of the shorter side below which a drawing would only hide the picture."""
_DARK = (16, 16, 24)
_COLOURS: dict[DetectionKind, tuple[int, int, int]] = {
    "face": (255, 196, 64),
    "hand": (64, 224, 255),
    "pose": (120, 255, 120),
}
"""RGB."""


def _chain(*points: int) -> list[tuple[int, int]]:
    return list(pairwise(points))


_HAND_LINES = np.array(
    _chain(0, 1, 2, 3, 4)
    + _chain(0, 5, 6, 7, 8)
    + _chain(9, 10, 11, 12)
    + _chain(13, 14, 15, 16)
    + _chain(0, 17, 18, 19, 20)
    + _chain(5, 9, 13, 17)
)
"""The 21 connections of MediaPipe's hand landmarks."""
_POSE_LINES = np.array(
    _chain(8, 6, 5, 4, 0, 1, 2, 3, 7)
    + _chain(9, 10)
    + _chain(12, 11, 13, 15, 17, 19, 15, 21)
    + _chain(12, 14, 16, 18, 20, 16, 22)
    + _chain(11, 23, 25, 27, 29, 31, 27)
    + _chain(12, 24, 26, 28, 30, 32, 28)
    + _chain(23, 24)
)
"""The 35 connections of MediaPipe's pose landmarks."""
_LINES = {"face": np.zeros((0, 2), np.intp), "hand": _HAND_LINES, "pose": _POSE_LINES}

_QUARTER = np.linspace(0, np.pi / 2, 5)
_CORNERS = np.array([(np.cos(turn + _QUARTER), np.sin(turn + _QUARTER)) for turn in np.arange(4) * np.pi / 2])
"""Quarter circles at bottom right, bottom left, top left, top right; shape ``(4, 2, 5)``."""


def draw(pixels: Pixels, detections: Sequence[Detection], *, labels: bool = True) -> None:
    """Draw ``detections`` onto the RGB picture ``pixels``, in place; the array must be writable.

    Lines grow with the picture. Pictures under 32 pixels a side are left alone.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < _SMALLEST or not detections:
        return
    canvas = pixels if pixels.flags.c_contiguous else np.ascontiguousarray(pixels)
    thick = max(1, round(min(height, width) / 240))
    strokes = {kind: _strokes([d for d in detections if d.kind == kind], width, height) for kind in _COLOURS}
    _lines(canvas, np.concatenate(list(strokes.values())), _DARK, thick + 2)
    for kind, segments in strokes.items():
        _lines(canvas, segments, _COLOURS[kind], thick)
    for kind, colour in _COLOURS.items():
        _dots(canvas, [d for d in detections if d.kind == kind], colour, thick)
    if labels:
        for detection in detections:
            _label(canvas, detection, thick)
    if canvas is not pixels:
        pixels[...] = canvas


def _strokes(detections: Sequence[Detection], width: int, height: int) -> _Segments:
    parts = [np.zeros((0, 2, 2), np.int32)]
    for detection in detections:
        if detection.kind == "face":
            parts.append(_rounded(detection.box, width, height))
        lines = _LINES[detection.kind]
        if len(lines) and len(detection.points) > lines.max():
            inside = _inside(detection.points)
            parts.append(_pixels(detection.points, width, height)[lines[inside[lines].any(axis=1)]])
    return np.concatenate(parts)


def _dots(canvas: Pixels, detections: Sequence[Detection], colour: tuple[int, int, int], thick: int) -> None:
    """Key points, as lines without length: their round ends are the dots."""
    height, width = canvas.shape[:2]
    points = [_pixels(d.points[_inside(d.points)], width, height) for d in detections]
    if points:
        dots = np.repeat(np.concatenate(points)[:, None], 2, axis=1)
        _lines(canvas, dots, _DARK, 2 * thick + 3)
        _lines(canvas, dots, colour, 2 * thick + 1)


def _lines(canvas: Pixels, segments: _Segments, colour: tuple[int, int, int], thickness: int) -> None:
    if len(segments):  # not anti-aliased: that costs 2.5 times as much, and the codec blurs the edges anyway
        cv2.polylines(canvas, list(segments), False, colour, thickness, cv2.LINE_8, _SHIFT)


def _inside(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which points lie in the picture; those that do not are guesses of the model, or not numbers at all."""
    return np.asarray(((points >= 0) & (points <= 1)).all(axis=1))


def _pixels(points: NDArray[np.float32], width: int, height: int) -> NDArray[np.int32]:
    """0–1 → pixels with fractional bits; points far outside are pulled in, OpenCV's integers are small."""
    near = np.clip(np.nan_to_num(points), -1.0, 2.0)
    return np.asarray(np.rint(near * np.array((width << _SHIFT, height << _SHIFT), np.float32)), np.int32)


def _rounded(box: tuple[float, float, float, float], width: int, height: int) -> _Segments:
    """The outline of ``box`` with round corners."""
    left, top, right, bottom = box[0] * width, box[1] * height, (box[0] + box[2]) * width, (box[1] + box[3]) * height
    radius = 0.15 * min(right - left, bottom - top)
    x = np.array([right - radius, left + radius, left + radius, right - radius])
    y = np.array([bottom - radius, bottom - radius, top + radius, top + radius])
    arcs = np.stack((x, y), axis=1)[:, None, :] + radius * _CORNERS.transpose(0, 2, 1)
    outline = np.rint(arcs.reshape(-1, 2) * (1 << _SHIFT)).astype(np.int32)
    return np.stack((outline, np.roll(outline, -1, axis=0)), axis=1)


def _label(canvas: Pixels, detection: Detection, thick: int) -> None:
    """``face 93%`` or ``left hand`` above the box, or inside it at the top edge of the picture."""
    if detection.kind == "pose":
        return
    height, width = canvas.shape[:2]
    text = f"{detection.label} hand".strip() if detection.kind == "hand" else f"face {detection.score:.0%}"
    scale, weight, margin = 0.25 * thick, max(1, thick - 1), 2 * thick
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, weight)
    x = min(max(margin, int(detection.box[0] * width)), max(margin, width - text_width - margin))
    y = max(text_height + margin, int(detection.box[1] * height) - 2 * margin)
    corner = x + text_width + margin, y + margin
    cv2.rectangle(canvas, (x - margin, y - text_height - margin), corner, _DARK, cv2.FILLED)
    place = x, y
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, _COLOURS[detection.kind], weight, cv2.LINE_AA)
