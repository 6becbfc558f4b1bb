"""Faces, hands, gestures, poses, people's outlines and things with MediaPipe Tasks.

Cost of one 640x480 picture on one core (``python -m tests.benchmarks.detectors``): faces 7 ms (near 2, far 5), face
landmarks 2 to 5, segmentation 7, gestures 16, pose 18, hands 20; and of one session in memory: faces 7 MiB for each of
the two, segmentation 14, face landmarks 17, gestures 35, hands 43, pose 80, because each detector unpacks its weights
for itself.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name

import numpy as np

from media.frames import Picture, Pixels
from pipelines.engines.mediapipe.faces import SAME_FACE
from pipelines.engines.mediapipe.library import REPORTS, giving_way, stop_reports, without_noise
from pipelines.engines.mediapipe.parts import Device, Opener, Task, View, VisionOptions
from pipelines.errors import VisionError
from pipelines.interfaces.vision import Detection, DetectionKind, overlap
from pipelines.vision.detectors import DETECTORS, KINDS, DetectorName, without_replaced
from pipelines.vision.images import smaller
from pipelines.vision.scene import PERSON
from pipelines.vision.settings import VisionSettings


def merge(found: Mapping[DetectorName, Sequence[Detection]]) -> tuple[Detection, ...]:
    """The findings of each detector → all detections, kind by kind, with ids from left to right.

    A hand is told by the recogniser of gestures rather than by the holistic landmarker. Where the face landmarker
    works, a face is what it accepts, with the score that the face detector gives it: the latter alone also finds faces
    in clocks and toys. A person is a thing only where no detector looks that knows more of people.
    """
    whole = found.get("holistic", ())
    kept = [seen for seen in whole if seen.kind == "pose" or (seen.kind == "hand" and "gestures" not in found)]
    faces = list(found["face_landmarks"] if "face_landmarks" in found else _of_kind(whole, "face"))
    boxes = found.get("faces", ())
    scored = [replace(face, score=max([face.score, *_scores(face, boxes)])) for face in faces]
    if "face_landmarks" not in found:
        scored += [box for box in boxes if all(overlap(box.box, face.box) < SAME_FACE for face in faces)]
    rest = [
        seen for name, detections in found.items() if name not in ("holistic", "face_landmarks", "faces")
        for seen in detections if not (seen.label == PERSON and seen.kind == "object" and _KNOW_PEOPLE & found.keys())
    ]  # fmt: skip
    everything = [*scored, *kept, *rest]
    return tuple(seen for kind in KINDS for seen in _numbered(_of_kind(everything, kind)))


_KNOW_PEOPLE = {"faces", "face_landmarks", "pose", "holistic"}


def _scores(face: Detection, boxes: Sequence[Detection]) -> list[float]:
    return [box.score for box in boxes if overlap(box.box, face.box) >= SAME_FACE]


def _of_kind(detections: Sequence[Detection], kind: str) -> list[Detection]:
    return [seen for seen in detections if seen.kind == kind]


def _numbered(detections: Sequence[Detection]) -> list[Detection]:
    ordered = sorted(detections, key=lambda seen: seen.box[0] + seen.box[2] / 2)
    return [replace(seen, id=number) for number, seen in enumerate(ordered)]


log = logging.getLogger(__name__)

__all__ = ["MediaPipeTracker", "MediaPipeVision", "VisionOptions"]

_LIBRARIES = ("libEGL.so.1", "libGLESv2.so.2")
"""Loaded by MediaPipe even when it works on the CPU."""
_LONGEST_SIDE = 640
"""Pixels. The networks see 128 to 320; larger pictures only cost time (20 ms per detector at 1080p)."""
_NOISE = re.compile(
    rb"^(INFO: (\[\w+\.cc:|Created TensorFlow Lite)|WARNING: Logging before InitGoogle|WARNING: Read-only tensor #"
    rb"|WARNING: \[\w+\.cc:\d+\] Sparsity tensors"
    rb"|[IWE]\d{4} .*(inference_feedback_manager|inference_runner_litert|landmark_projection_calculator|_graph\.cc"
    rb"|gl_context)|Stack trace:|    @ +0x)"
)
"""Lines of MediaPipe that say nothing that its errors do not; a graph that fails adds a stack trace."""
_MEDIAPIPE_ERRORS = (RuntimeError, ValueError, OSError, IndexError, NotImplementedError)
"""What MediaPipe's status codes become in Python."""


def _opener(name: DetectorName) -> Opener:
    opener: Opener = resolve_name(DETECTORS[name].open)
    return opener


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


class MediaPipeVision:
    """The detectors for which there is a model, and those that need none; ``missing`` says why others have none.

    Imports MediaPipe (half a second): build it on a worker. Raises :class:`VisionError` (``vision_unusable``) with the
    reason of :meth:`probe`. Hands are ``left`` or ``right`` for a camera picture that is not mirrored.
    """

    name = "mediapipe"

    def __init__(
        self,
        models: Mapping[DetectorName, Path],
        options: VisionOptions | None = None,
        missing: Mapping[DetectorName, str] | None = None,
    ) -> None:
        if reason := self.probe():
            raise VisionError("vision_unusable", reason)
        try:
            self.reports_usage = not stop_reports()
            """Whether MediaPipe tells its maker how it is used; it could not be kept from it on this system."""
        except (ImportError, OSError) as error:
            raise VisionError("vision_unusable", f"mediapipe cannot be loaded: {error}") from error
        if self.reports_usage:
            log.warning("%s", REPORTS)
        _disarm_finalizers()
        reasons = missing or {}
        needing = [name for name, row in DETECTORS.items() if row.models]
        self.unavailable: dict[DetectorName, str] = {
            name: reasons.get(name, "its model is not here") for name in needing if name not in models
        }
        """Detectors without their model → why."""
        self._models = dict.fromkeys((name for name in DETECTORS if name not in needing), Path()) | dict(models)
        self._options = options or VisionOptions()
        self.device: Device = self._options.device
        self.device_reason = ""
        """Why the GPU that was asked for is not used; empty when it is, or was not asked for."""
        if self.device == "gpu" and (refused := self._try_gpu()):
            self.device, self.device_reason = "cpu", refused
            self._options = replace(self._options, device="cpu")

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

    @property
    def detectors(self) -> tuple[DetectorName, ...]:
        """Those that can be had."""
        return tuple(name for name in DETECTORS if name in self._models)

    @property
    def kinds(self) -> tuple[DetectionKind, ...]:
        """What can be found."""
        return tuple(dict.fromkeys(kind for name in self.detectors for kind in DETECTORS[name].finds))

    def add(self, name: DetectorName, model: Path) -> None:
        """A model has come; sessions that open or select afterwards may use it."""
        self._models = {**self._models, name: model}
        self.unavailable = {other: reason for other, reason in self.unavailable.items() if other != name}

    def lack(self, name: DetectorName, reason: str) -> None:
        """The model of ``name`` cannot be had."""
        self.unavailable = {**self.unavailable, name: reason}

    def open(self, detectors: Collection[DetectorName] | None = None) -> MediaPipeTracker:
        """Detectors for one session: ``detectors``, or those of a new session. Takes about 150 ms: on a worker."""
        tracker = MediaPipeTracker(self, self._options)
        tracker.select(VisionSettings().detectors if detectors is None else detectors)
        return tracker

    def model(self, name: DetectorName) -> Path:
        """The file of a detector that is available; of one that needs none, nothing of use."""
        return self._models[name]

    def _try_gpu(self) -> str:
        """Why no detector runs on the GPU; empty when one does."""
        with _hush(self._options):
            for name in self.detectors[:1]:
                try:
                    _opener(name)(self._models[name], self._options).close()
                except _MEDIAPIPE_ERRORS as error:
                    return _reason(error)
        return ""


class MediaPipeTracker:
    """The detectors of one session.

    One that fails raises once and is left out from then on; MediaPipe's graphs do not recover. Landmarks of limbs
    outside the picture are guesses and may lie outside 0–1; boxes do not. Ids count from left to right in each picture:
    :class:`~pipelines.vision.tracking.TrackedVision` makes them last.
    """

    def __init__(self, vision: MediaPipeVision, options: VisionOptions) -> None:
        self._vision = vision
        self._options = options
        self._wanted: tuple[DetectorName, ...] = ()
        self._timestamp = 0
        self._tasks: dict[DetectorName, Task] = {}
        self._errors: list[VisionError] = []
        self._closed = False
        self._failed: dict[DetectorName, str] = {}

    @property
    def unavailable(self) -> dict[DetectorName, str]:
        """Detectors without a model, and those that have failed in this session, each with the reason."""
        return {**self._vision.unavailable, **self._failed}

    @property
    def running(self) -> tuple[DetectorName, ...]:
        """The detectors at work; one whose results another brings along rests."""
        return tuple(self._tasks)

    def select(self, detectors: Collection[DetectorName]) -> None:
        """Use ``detectors`` from now on: opens and closes only what changes (10–60 ms each).

        What is unavailable is left out. One that cannot be opened is told by the next :meth:`detect`.
        """
        if self._closed:
            return
        self._wanted = tuple(name for name in DETECTORS if name in detectors)
        with _hush(self._options):
            self._arrange()

    def detect(self, picture: Picture) -> tuple[Detection, ...]:
        """All that is found, kind by kind and from left to right. About 20 ms at 640x480 for faces, hands and pose.

        Raises :class:`VisionError`: ``DETECTOR_failed`` (such as ``hands_failed``), once each; ``vision_closed`` when
        the tracker is closed or nothing of what was selected works.
        """
        if self._errors:
            raise self._errors.pop(0)
        if self._closed:
            raise VisionError("vision_closed", "the tracker is closed")
        if not self._tasks and self._wanted:
            raise VisionError("vision_closed", "no detector works")
        if not picture.pixels.size or not self._tasks:
            return ()
        self._timestamp = max(self._timestamp + 1, round(picture.time * 1000))
        found = self._detect_with(smaller(picture.pixels, _LONGEST_SIDE), self.running)
        if self._errors:
            with _hush(self._options):
                self._arrange()  # what was replaced by the one that failed may be wanted again
            raise self._errors.pop(0)
        return merge(found)

    def close(self) -> None:
        """Free the detectors (about 10 ms). Idempotent."""
        self._closed = True
        with _hush(self._options):
            while self._tasks:
                _close(self._tasks.popitem()[1])

    def _arrange(self) -> None:
        """Open and close what it takes; again without those that fail, which may bring back what they replaced."""
        while True:
            lacking = self.unavailable
            plan = without_replaced([name for name in self._wanted if name not in lacking])
            for name in [name for name in self._tasks if name not in plan]:
                _close(self._tasks.pop(name))
            new = [name for name in plan if name not in self._tasks]
            for name in new:
                self._open(name)
            self._tasks = {name: self._tasks[name] for name in plan if name in self._tasks}
            # the first picture is slow, and noisy in the log
            self._detect_with(np.full((64, 64, 3), 128, np.uint8), [name for name in new if name in self._tasks])
            if not any(name in self._failed for name in plan):
                return

    def _open(self, name: DetectorName) -> None:
        try:
            self._tasks[name] = self._opened(name)
        except _MEDIAPIPE_ERRORS as error:
            self._fail(name, error)

    def _opened(self, name: DetectorName) -> Task:
        model, open_task = self._vision.model(name), _opener(name)
        if self._options.device == "gpu":
            try:
                return open_task(model, self._options)
            except _MEDIAPIPE_ERRORS:  # not every network runs there
                pass
        # networks compute on threads of MediaPipe's own: voice goes first
        return giving_way(lambda: open_task(model, replace(self._options, device="cpu")))

    def _detect_with(self, pixels: Pixels, names: Collection[DetectorName]) -> dict[DetectorName, list[Detection]]:
        import mediapipe

        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        view = View(pixels, image, self._timestamp)
        found: dict[DetectorName, list[Detection]] = {}
        for name in names:
            try:
                found[name] = self._tasks[name].detect(view)
            except _MEDIAPIPE_ERRORS as error:
                self._fail(name, error)
                _close(self._tasks.pop(name))
        return found

    def _fail(self, name: DetectorName, error: Exception) -> None:
        self._failed[name] = reason = _reason(error)
        failure = VisionError(f"{name}_failed", f"MediaPipe's detector of {name.replace('_', ' ')} failed: {reason}")
        failure.__cause__ = error
        self._errors.append(failure)


def _disarm_finalizers() -> None:
    """Keep a detector that was forgotten from hanging the process.

    Its ``__del__`` waits for its own thread, which garbage collection may have ended before it: it then waits for
    ever, on whichever thread collects. Trackers are closed by those who open them; one that is not costs memory only.
    """
    from mediapipe.tasks.python import vision

    for task in (
        vision.FaceDetector, vision.FaceLandmarker, vision.HandLandmarker, vision.GestureRecognizer,
        vision.PoseLandmarker, vision.ImageSegmenter, vision.ObjectDetector, vision.HolisticLandmarker,
    ):  # fmt: skip
        task.__del__ = lambda self: None


def _hush(options: VisionOptions) -> AbstractContextManager[None]:
    return without_noise(_NOISE) if options.quiet else nullcontext()


def _reason(error: Exception) -> str:
    first = str(error).partition("\n")[0]
    return first.rpartition("cannot be created: ")[2] or type(error).__name__


def _close(task: Task) -> None:
    try:
        task.close()
    except _MEDIAPIPE_ERRORS:  # a graph that failed says so again when it is closed
        return
