"""What the MediaPipe detectors have in common: options, one detector at work, and points and boxes as fractions."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from media.frames import Pixels
from pipelines.interfaces.vision import Detection

Points = NDArray[np.float32]
"""Shape ``(n, 2)``: x and y as fractions of the picture."""
Box = tuple[float, float, float, float]
"""x, y, width, height as fractions of the picture."""
Device = Literal["cpu", "gpu"]


@dataclass(frozen=True, slots=True)
class VisionOptions:
    """What counts as found, and where the networks run."""

    min_face_score: float = 0.5
    """0–1. The short-range model gives real faces 0.56–0.93 and clocks and toys 0.70–0.87: no threshold separates them;
    which faces are told is decided over several pictures (:mod:`pipelines.vision.tracking`)."""
    min_gesture_score: float = 0.5
    """0–1. Clear gestures reach 0.58–0.90; a hand that makes none is called ``None`` with as much."""
    min_hand_presence: float = 0.3
    """0–1, for gestures, whose hand model is the small one; it gives a hand seen from the side less than 0.5."""
    faint_object_score: float = 0.2
    """0–1. Things of less than :data:`pipelines.vision.tracking.SURE_THING` are told only where they go on."""
    max_faces: int = 4
    max_hands: int = 2
    max_objects: int = 12
    device: Device = "cpu"
    """``gpu`` is MediaPipe's GPU delegate (OpenGL ES through EGL, not CUDA); what it cannot run, the CPU does."""
    quiet: bool = True
    """Keep MediaPipe's log lines off stderr while detectors are opened and closed."""


@dataclass(frozen=True, slots=True)
class View:
    """One picture, as the detectors get it."""

    pixels: Pixels
    """RGB, contiguous, at most 640 pixels wide or high."""
    image: Any
    """The same as a ``mediapipe.Image``."""
    timestamp: int
    """Milliseconds; later than that of the picture before."""


@dataclass(frozen=True, slots=True)
class Task:
    """A detector at work."""

    detect: Callable[[View], list[Detection]]
    close: Callable[[], None]


Opener = Callable[[Path, VisionOptions], Task]


def base_options(model: Path | bytes, options: VisionOptions) -> Any:
    """MediaPipe's ``BaseOptions``, with the file of a model or what is in it."""
    from mediapipe.tasks.python import BaseOptions

    delegate = BaseOptions.Delegate.GPU if options.device == "gpu" else BaseOptions.Delegate.CPU
    if isinstance(model, bytes):
        return BaseOptions(model_asset_buffer=model, delegate=delegate)
    return BaseOptions(model_asset_path=str(model), delegate=delegate)


def open_task(kind: str, model: Path | bytes, options: VisionOptions, **more: Any) -> Any:
    """MediaPipe's task ``kind``, such as ``FaceDetector``, for the pictures of a video."""
    from mediapipe.tasks.python import vision

    wanted = getattr(vision, f"{kind}Options")(
        base_options=base_options(model, options), running_mode=vision.RunningMode.VIDEO, **more
    )
    return getattr(vision, kind).create_from_options(wanted)


def members_of(model: Path) -> list[str]:
    """Names of the files in a bundle; none in a single model."""
    if not zipfile.is_zipfile(model):
        return []
    with zipfile.ZipFile(model) as bundle:
        return bundle.namelist()


def points_of(landmarks: Sequence[Any]) -> Points:
    """The x and y of MediaPipe's landmarks."""
    return np.array([(mark.x, mark.y) for mark in landmarks], np.float32).reshape(-1, 2)


def around(points: Points) -> Box:
    """The box around points, as far as it lies in the picture."""
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return inside(float(left), float(top), float(right), float(bottom))


def inside(left: float, top: float, right: float, bottom: float) -> Box:
    """Edges → box of what lies in the picture."""
    left, top, right, bottom = (min(1.0, max(0.0, edge)) for edge in (left, top, right, bottom))
    return left, top, right - left, bottom - top


def box_in(view: View, box: Any) -> Box:
    """MediaPipe's bounding box in pixels → what of it lies in the picture."""
    height, width = view.pixels.shape[:2]
    left, top = box.origin_x / width, box.origin_y / height
    return inside(left, top, left + box.width / width, top + box.height / height)


def apart(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> float:
    """The distance of two points in space."""
    return float(np.linalg.norm(one - other))


def ramp(value: float, none: float, full: float) -> float:
    """0 at ``none`` and beyond it, 1 at ``full`` and beyond that, straight between them."""
    return min(1.0, max(0.0, (value - none) / (full - none)))
