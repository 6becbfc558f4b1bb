"""Faces, hands and poses with MediaPipe Tasks on the CPU.

Cost of one 640x480 picture on one core: face 1 ms, hands 6–11 ms, pose 7–10 ms. Cost of one session in memory: face
6 MiB, hands 41, pose 76, because each detector unpacks its weights for itself.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from media.frames import Picture, Pixels
from pipelines.engines.mediapipe_private import stop_reports
from pipelines.engines.quiet import without_noise
from pipelines.errors import VisionError
from pipelines.ports import Detection, DetectionKind

KINDS: tuple[DetectionKind, ...] = get_args(DetectionKind)

_LIBRARIES = ("libEGL.so.1", "libGLESv2.so.2")
"""Loaded by MediaPipe even when it works on the CPU."""
_LONGEST_SIDE = 640
"""Pixels. The networks see 128 to 256; larger pictures only cost time (20 ms per detector at 1080p)."""
_NOISE = re.compile(
    rb"^(INFO: (\[\w+\.cc:|Created TensorFlow Lite)|WARNING: Logging before InitGoogle|WARNING: Read-only tensor #"
    rb"|W\d{4} .*(inference_feedback_manager|inference_runner_litert|landmark_projection_calculator))"
)
_MEDIAPIPE_ERRORS = (RuntimeError, ValueError, OSError, IndexError)
"""What MediaPipe's status codes become in Python."""
_POSE_TRUNK = (0, 11, 12)
"""Nose and shoulders: the part of a body that a camera on a desk shows."""
_VISIBLE = 0.5


@dataclass(frozen=True, slots=True)
class VisionOptions:
    """What counts as found."""

    min_face_score: float = 0.6
    """0–1. The short-range model gives real faces 0.56–0.93 and clocks and toys 0.70–0.87: no threshold separates them.
    0.6 keeps nearly all faces within two metres and rejects textures; the price is a clock taken for a person."""
    max_hands: int = 2
    quiet: bool = True
    """Keep MediaPipe's log lines off stderr while detectors are opened and closed."""


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


class MediaPipeVision:
    """A detector per kind for which there is a model: a face detector's ``.tflite``, a hand or pose landmarker's
    ``.task``.

    Imports MediaPipe (half a second): build it on a worker. Raises :class:`VisionError` (``vision_unusable``) with the
    reason of :meth:`probe`. Hands are ``left`` or ``right`` for a camera picture that is not mirrored.
    """

    name = "mediapipe"

    def __init__(self, models: Mapping[DetectionKind, Path], options: VisionOptions | None = None) -> None:
        if reason := self.probe():
            raise VisionError("vision_unusable", reason)
        try:
            self.reports_usage = not stop_reports()
            """Whether MediaPipe tells its maker how it is used; it could not be kept from it on this system."""
        except (ImportError, OSError) as error:
            raise VisionError("vision_unusable", f"mediapipe cannot be loaded: {error}") from error
        _disarm_finalizers()
        self.kinds = tuple(kind for kind in KINDS if kind in models)
        self._models = dict(models)
        self._options = options or VisionOptions()

    @staticmethod
    def probe() -> str | None:
        """Why MediaPipe cannot be used here, for people; ``None`` when it can. Cheap: does not import it."""
        if importlib.util.find_spec("mediapipe") is None:
            return "mediapipe is not installed: pip install mediapipe"
        missing = [library for library in _LIBRARIES if sys.platform == "linux" and not _loads(library)]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            return f"{' and '.join(missing)} {verb} missing: apt-get install libegl1 libgles2"
        return None

    def open(self, kinds: Collection[DetectionKind] | None = None) -> MediaPipeTracker:
        """Detectors for one session, of all kinds or only of ``kinds``. Takes about 150 ms: call it on a worker."""
        chosen = {kind: self._models[kind] for kind in self.kinds if kinds is None or kind in kinds}
        return MediaPipeTracker(chosen, self._options)


@dataclass(frozen=True, slots=True)
class _Detector:
    kind: DetectionKind
    task: Any
    convert: Callable[[Any, int, int], list[Detection]]
    """Result, width and height in pixels → detections."""


def _disarm_finalizers() -> None:
    """Keep a detector that was forgotten from hanging the process.

    Its ``__del__`` waits for its own thread, which garbage collection may have ended before it: it then waits for
    ever, on whichever thread collects. Trackers are closed by those who open them; one that is not costs memory only.
    """
    from mediapipe.tasks.python import vision

    for task in (vision.FaceDetector, vision.HandLandmarker, vision.PoseLandmarker):
        task.__del__ = lambda self: None


class MediaPipeTracker:
    """The detectors of one session.

    A kind that fails raises once and is left out from then on; MediaPipe's graphs do not recover. Landmarks of limbs
    outside the picture are guesses and may lie outside 0–1; boxes do not.
    """

    def __init__(self, models: Mapping[DetectionKind, Path], options: VisionOptions) -> None:
        self._hush = partial(without_noise, _NOISE) if options.quiet else nullcontext
        self._timestamp = 0
        self._detectors: list[_Detector] = []
        self._failed: list[VisionError] = []
        self._closed = False
        with self._hush():
            for kind, model in models.items():
                try:
                    self._detectors.append(_OPENERS[kind](model, options))
                except _MEDIAPIPE_ERRORS as error:
                    self._failed.append(_failure(kind, error))
            self._look(np.full((64, 64, 3), 128, np.uint8))  # the first picture is slow, and noisy in the log

    def detect(self, picture: Picture) -> tuple[Detection, ...]:
        """All that is found, kind by kind and from left to right. About 20 ms at 640x480.

        Raises :class:`VisionError`: ``face_failed``, ``hand_failed`` or ``pose_failed``, once each;
        ``vision_closed`` when no detector is left.
        """
        if self._failed:
            raise self._failed.pop(0)
        if not self._detectors:
            raise VisionError("vision_closed", "the tracker is closed" if self._closed else "no detector works")
        if not picture.pixels.size:
            return ()
        self._timestamp = max(self._timestamp + 1, round(picture.time * 1000))
        found = self._look(_reduced(picture.pixels))
        if self._failed:
            raise self._failed.pop(0)
        return found

    def close(self) -> None:
        """Free the detectors (about 10 ms). Idempotent."""
        self._closed = True
        with self._hush():
            while self._detectors:
                _close(self._detectors.pop())

    def _look(self, pixels: Pixels) -> tuple[Detection, ...]:
        import mediapipe

        height, width = pixels.shape[:2]
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        found: list[Detection] = []
        for detector in tuple(self._detectors):
            try:
                result = detector.task.detect_for_video(image, self._timestamp)
            except _MEDIAPIPE_ERRORS as error:
                self._failed.append(_failure(detector.kind, error))
                self._detectors.remove(detector)
                _close(detector)
            else:
                found += _numbered(detector.convert(result, width, height))
        return tuple(found)


def _failure(kind: DetectionKind, error: Exception) -> VisionError:
    reason = str(error).partition("\n")[0] or type(error).__name__
    failure = VisionError(f"{kind}_failed", f"MediaPipe's {kind} detector failed: {reason}")
    failure.__cause__ = error
    return failure


def _close(detector: _Detector) -> None:
    try:
        detector.task.close()
    except _MEDIAPIPE_ERRORS:  # a graph that failed says so again when it is closed
        return


def _reduced(pixels: Pixels) -> Pixels:
    """Contiguous, and not larger than is of use."""
    height, width = pixels.shape[:2]
    scale = _LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _numbered(detections: Sequence[Detection]) -> list[Detection]:
    """Ids from left to right."""
    ordered = sorted(detections, key=lambda found: found.box[0] + found.box[2] / 2)
    return [replace(found, id=number) for number, found in enumerate(ordered)]


# ---------------------------------------------------------------------------------------------------- the tasks


def _open_face(model: Path, options: VisionOptions) -> _Detector:
    from mediapipe.tasks.python import BaseOptions, vision

    task = vision.FaceDetector.create_from_options(
        vision.FaceDetectorOptions(
            base_options=BaseOptions(model_asset_path=str(model)),
            running_mode=vision.RunningMode.VIDEO,
            min_detection_confidence=options.min_face_score,
        )
    )
    return _Detector("face", task, _faces)


def _open_hand(model: Path, options: VisionOptions) -> _Detector:
    from mediapipe.tasks.python import BaseOptions, vision

    task = vision.HandLandmarker.create_from_options(
        vision.HandLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(model)),
            running_mode=vision.RunningMode.VIDEO,
            num_hands=options.max_hands,
        )
    )
    return _Detector("hand", task, _hands)


def _open_pose(model: Path, options: VisionOptions) -> _Detector:
    from mediapipe.tasks.python import BaseOptions, vision

    task = vision.PoseLandmarker.create_from_options(
        vision.PoseLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(model)),
            running_mode=vision.RunningMode.VIDEO,
            num_poses=1,
        )
    )
    return _Detector("pose", task, _poses)


_OPENERS: dict[DetectionKind, Callable[[Path, VisionOptions], _Detector]] = {
    "face": _open_face,
    "hand": _open_hand,
    "pose": _open_pose,
}


def _faces(result: Any, width: int, height: int) -> list[Detection]:
    found = []
    for face in result.detections:
        box = face.bounding_box
        left, top = box.origin_x / width, box.origin_y / height
        edges = _inside(left, top, left + box.width / width, top + box.height / height)
        found.append(Detection("face", 0, edges, float(face.categories[0].score), "", _points(face.keypoints)))
    return found


def _hands(result: Any, width: int, height: int) -> list[Detection]:
    found = []
    for landmarks, handedness in zip(result.hand_landmarks, result.handedness, strict=True):
        points = _points(landmarks)
        label = handedness[0].category_name.lower()
        found.append(Detection("hand", 0, _around(points), float(handedness[0].score), label, points))
    return found


def _poses(result: Any, width: int, height: int) -> list[Detection]:
    found = []
    for landmarks in result.pose_landmarks:
        points = _points(landmarks)
        visible = np.array([mark.visibility for mark in landmarks], np.float32)
        seen = points[visible > _VISIBLE]
        score = float(visible[list(_POSE_TRUNK)].mean())
        found.append(Detection("pose", 0, _around(seen if len(seen) else points), score, "", points))
    return found


def _points(landmarks: Sequence[Any]) -> NDArray[np.float32]:
    return np.array([(mark.x, mark.y) for mark in landmarks], np.float32).reshape(-1, 2)


def _around(points: NDArray[np.float32]) -> tuple[float, float, float, float]:
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return _inside(float(left), float(top), float(right), float(bottom))


def _inside(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
    """Edges → x, y, width, height of what lies in the picture."""
    left, top, right, bottom = (min(1.0, max(0.0, edge)) for edge in (left, top, right, bottom))
    return left, top, right - left, bottom - top
