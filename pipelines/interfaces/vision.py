"""Vision: pictures in, detections out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from media.frames import Picture
from pipelines.vision.detectors import DetectionKind as DetectionKind
from pipelines.vision.detectors import DetectorName

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


@dataclass(frozen=True, slots=True)
class Expression:
    """How a face looks at one moment, from blendshapes and the pose of the head."""

    mouth_open: float
    """0–1."""
    smile: float
    """0–1."""
    eyes_closed: float
    """0–1."""
    yaw: float
    """Degrees the head is turned away from the camera to the side, positive to the person's left."""
    pitch: float
    """Degrees it is lifted (positive) or bowed."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One thing found in a picture. Coordinates are fractions of the picture, origin top left."""

    kind: DetectionKind
    id: int
    """Small number, unique within its kind; the same for as long as the same thing is followed."""
    box: tuple[float, float, float, float]
    """x, y, width, height in 0–1."""
    score: float
    """0–1."""
    label: str = ""
    """For hands ``left`` or ``right``, as the person calls it; for objects what they are (``cup``)."""
    points: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """Landmarks, shape ``(n, 2)`` in 0–1: 6 (BlazeFace) or 478 (face mesh) for a face, 21 for a hand, 33 for a pose;
    empty if none."""
    gesture: str = ""
    """For hands, in words: ``thumbs up``; empty where none is recognised."""
    expression: Expression | None = None
    """For faces, where face landmarks are looked for."""
    mask: NDArray[np.uint8] | None = None
    """For kind ``person``, shape ``(rows, columns)``, smaller than the picture: 255 where somebody is, 0 background."""
    trail: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """Where its centre has been in the last second or so, shape ``(n, 2)`` in 0–1, the newest last; empty where nothing
    is followed."""


class VisionTracker(Protocol):
    """The detectors of one session. Blocking: call it on a worker, one call at a time."""

    def select(self, detectors: Collection[DetectorName]) -> None:
        """Look with ``detectors`` from now on, as far as they are available; opens and closes only what changes."""
        ...

    def detect(self, picture: Picture) -> tuple[Detection, ...]:
        """All that is found in ``picture``. Pictures come in time order.

        Raises :class:`~pipelines.errors.VisionError` when a detector failed.
        """
        ...

    def close(self) -> None:
        """Free the detectors. Idempotent."""
        ...


class VisionDetector(Protocol):
    """A family of detectors with their models loaded once."""

    name: str

    @property
    def detectors(self) -> tuple[DetectorName, ...]:
        """Which of them can be had; more may come while the server runs."""
        ...

    @property
    def unavailable(self) -> Mapping[DetectorName, str]:
        """Why the others cannot: their model or library is missing."""
        ...

    @property
    def kinds(self) -> tuple[DetectionKind, ...]:
        """What can be found."""
        ...

    def open(self, detectors: Collection[DetectorName] | None = None) -> VisionTracker:
        """Detectors for one session: ``detectors``, or those that new sessions have.

        Blocking (tens of milliseconds each): call it on a worker.
        """
        ...
