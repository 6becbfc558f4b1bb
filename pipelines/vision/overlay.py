"""Draws what was found onto the picture, with the words of both sides and a read-out: for light and dark pictures.

Everything of one style goes into one OpenCV call, and text is laid on ready-made
(:mod:`pipelines.vision.text_sprites`). Pure. ``python -m tests.benchmarks.overlay`` measures it and makes the picture
of the documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from media.frames import Pixels
from pipelines.interfaces.vision import Detection, DetectionKind
from pipelines.vision.captions import Caption
from pipelines.vision.detectors import KINDS
from pipelines.vision.settings import OverlaySettings
from pipelines.vision.text_sprites import BOLD, Colour, Sprite, Style, plate, wrap

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


_Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""
_SMALLEST, _SMALLEST_FOR_TEXT = 32, 96
"""Pixels of the shorter side below which lines and text would only hide the picture."""
_DARK: Colour = (12, 15, 20)
_WHITE: Colour = (255, 255, 255)
_COLOURS = {kind: colour for kind, colour in KINDS.items() if colour is not None}
_SPEAKERS: dict[str, Colour] = {"user": (125, 176, 255), "assistant": (185, 160, 255)}
_LARGE_FACE = 70
"""Height of a face, in widths of a line, from which its contours have room for dark edges."""
_CAPTION_LINES = 2
"""Of each side at most."""
_STEPS = 8
"""Of a caption that fades: each is a picture of its own, made once."""


@dataclass(frozen=True, slots=True)
class Readout:
    """Figures for the corner; ``None`` where there is none. Seconds."""

    fps: float | None = None
    """Pictures returned per second."""
    delay: float | None = None
    """From a frame's arrival to its return."""
    overlay_age: float | None = None
    """How much older than the frame the picture is that detectors saw last."""
    voice_to_voice: float | None = None
    """Of the last turn."""

    def text(self) -> str:
        """Such as ``30 fps · delay 12 ms · overlay 45 ms · voice 310 ms``."""
        parts = [f"{self.fps:.0f} fps"] if self.fps is not None else []
        named = (("delay", self.delay), ("overlay", self.overlay_age), ("voice", self.voice_to_voice))
        parts += [f"{name} {1000 * seconds:.0f} ms" for name, seconds in named if seconds is not None]
        return " · ".join(parts)


def draw(
    pixels: Pixels,
    detections: Sequence[Detection],
    settings: OverlaySettings | None = None,
    captions: Sequence[Caption] = (),
    readout: Readout | None = None,
) -> None:
    """Draw onto the RGB picture ``pixels``, in place; the array must be writable.

    Lines and letters grow with the picture. Pictures under 32 pixels a side are left alone, those under 96 get no text.
    """
    settings = settings or OverlaySettings()
    height, width = pixels.shape[:2]
    if min(height, width) < _SMALLEST:
        return
    canvas = pixels if pixels.flags.c_contiguous else np.ascontiguousarray(pixels)
    shown = [found for found in detections if found.kind in _COLOURS]
    _lines(canvas, shown, settings)
    if min(height, width) >= _SMALLEST_FOR_TEXT:
        size = round(max(11.0, 0.03 * min(height, width)))
        if settings.labels:
            _labels(canvas, shown, size)
        bottom = _captions(canvas, captions, round(1.32 * size)) if settings.captions else height
        if settings.latency and readout is not None and (text := readout.text()):
            margin = round(0.6 * size)
            figures = plate([text], Style(round(0.86 * size), (226, 232, 236)))
            figures.lay(canvas, margin, bottom - margin - figures.height)  # at the top pages have words of their own
    if canvas is not pixels:
        pixels[...] = canvas


def _lines(canvas: Pixels, detections: Sequence[Detection], settings: OverlaySettings) -> None:
    """Dark edges of everything first, then the colours: nothing then cuts through what lies beside it."""
    height, width = canvas.shape[:2]
    thick = max(1, round(min(height, width) / 240))
    marked = detections if settings.landmarks else []
    for kind, colour in _COLOURS.items():
        _stroke(canvas, trails([d for d in marked if d.kind == kind], width, height), colour, 1, cv2.LINE_AA)
    _mesh(canvas, [d for d in marked if d.kind == "face"], thick, framed=settings.boxes)
    curves: dict[DetectionKind, list[Curve]] = {kind: [] for kind in _COLOURS}
    curves["hand"] = bones(marked, "hand", width, height)
    curves["pose"] = bones(marked, "pose", width, height)
    framed = detections if settings.boxes else []
    curves["face"] = brackets([d for d in framed if d.kind == "face"], width, height)
    curves["object"] = brackets([d for d in framed if d.kind == "object"], width, height)
    _stroke(canvas, [curve for of_kind in curves.values() for curve in of_kind], _DARK, thick + 2)
    for kind, colour in _COLOURS.items():
        _stroke(canvas, curves[kind], colour, thick)
    dots = {kind: joints([d for d in marked if d.kind == kind], width, height) for kind in _COLOURS}
    _stroke(canvas, [dot for of_kind in dots.values() for dot in of_kind], _DARK, 2 * thick + 2)
    for kind, colour in _COLOURS.items():
        _stroke(canvas, dots[kind], _WHITE if kind == "hand" else colour, 2 * thick)


def _mesh(canvas: Pixels, faces: Sequence[Detection], thick: int, *, framed: bool) -> None:
    height, width = canvas.shape[:2]
    large = [face for face in faces if face.box[3] * height >= _LARGE_FACE * thick]
    _stroke(canvas, contours(large, width, height, framed=framed), _DARK, thick + 1)
    _stroke(canvas, contours(faces, width, height, framed=framed), _COLOURS["face"], max(1, thick // 2), cv2.LINE_AA)


def _stroke(canvas: Pixels, curves: list[Curve], colour: Colour, thickness: int, kind: int = cv2.LINE_8) -> None:
    if curves:  # mostly not anti-aliased: that costs 2.5 times as much, and the codec blurs the edges anyway
        cv2.polylines(canvas, curves, False, colour, thickness, kind, SHIFT)


def _labels(canvas: Pixels, detections: Sequence[Detection], size: int) -> None:
    """Above each box, or else below or inside it: where no other label and no face is covered."""
    height, width = canvas.shape[:2]
    faces = [_corners(found, width, height) for found in detections if found.kind == "face"]
    taken: list[_Rectangle] = []
    for found in detections:
        text = _label_of(found)
        if not text or not np.isfinite(found.box).all():
            continue
        sprite = plate([text], Style(size, _COLOURS[found.kind], BOLD if found.gesture else 500))
        left, top, _, bottom = _corners(found, width, height)
        x = min(max(0, left), width - sprite.width)
        spots = []
        for y in (top - sprite.height - size // 3, bottom + size // 3, top + size // 3):
            y = min(max(0, y), height - sprite.height)
            spots.append((x, y, x + sprite.width, y + sprite.height))
        blocked = [*taken, *(faces if found.kind != "face" else [])]
        spot = next((s for s in spots if not any(_overlap(s, other) for other in blocked)), spots[0])
        taken.append(spot)
        sprite.lay(canvas, spot[0], spot[1])


def _corners(found: Detection, width: int, height: int) -> _Rectangle:
    x, y, wide, high = np.clip(np.nan_to_num(found.box), -1.0, 2.0)
    return int(x * width), int(y * height), int((x + wide) * width), int((y + high) * height)


def _overlap(one: _Rectangle, other: _Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _label_of(found: Detection) -> str:
    """``face 93%`` or who it is, ``left hand: thumbs up``, ``cup 81%``; bodies have none."""
    match found.kind:
        case "face":
            return found.label or f"face {found.score:.0%}"
        case "hand":
            hand = f"{found.label} hand".strip()
            return f"{hand}: {found.gesture}" if found.gesture else hand
        case "object":
            return f"{found.label} {found.score:.0%}".strip()
        case _:
            return ""


def _captions(canvas: Pixels, captions: Sequence[Caption], size: int) -> int:
    """Stacked from the bottom edge, the newest lowest; returns where the stack begins."""
    height, width = canvas.shape[:2]
    bottom: int = height - round(0.7 * size)
    for caption in reversed(captions):
        sprite = _caption(caption, width, size)
        if sprite is None or bottom - sprite.height < height // 3:
            continue
        sprite.lay(canvas, (width - sprite.width) // 2, bottom - sprite.height)
        bottom -= sprite.height + size // 4
    return int(bottom) if captions else int(height)


def _caption(caption: Caption, width: int, size: int) -> Sprite | None:
    lines = wrap(caption.text, round(0.88 * width) - 2 * size, size, 500)[-_CAPTION_LINES:]
    opacity = round(caption.opacity * _STEPS) / _STEPS
    if not lines or not opacity:
        return None
    colour = _WHITE if caption.final else (206, 214, 220)
    return plate(lines, Style(size, colour, 500, 0.7, _SPEAKERS[caption.speaker], opacity))
