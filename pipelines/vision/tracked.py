"""Detectors whose findings keep their ids from picture to picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from media.frames import Picture
from pipelines.ports import Detection, DetectionKind, VisionDetector, VisionTracker
from pipelines.vision.settings import DetectorName, TemplateImage
from pipelines.vision.templates import Templates
from pipelines.vision.tracking import Tracking


class TrackedVision:
    """``detector`` with :class:`~pipelines.vision.tracking.Tracking` for each session."""

    def __init__(self, detector: VisionDetector) -> None:
        self._detector = detector
        self.name = detector.name

    @property
    def detectors(self) -> tuple[DetectorName, ...]:
        """Which of them can be had."""
        return self._detector.detectors

    @property
    def unavailable(self) -> Mapping[DetectorName, str]:
        """Why the others cannot."""
        return self._detector.unavailable

    @property
    def kinds(self) -> tuple[DetectionKind, ...]:
        """What can be found."""
        return self._detector.kinds

    def open(self, detectors: Collection[DetectorName] | None = None) -> TrackedTracker:
        """Detectors for one session. Blocking: call it on a worker."""
        return TrackedTracker(self._detector.open(detectors))


class TrackedTracker:
    """The detectors of one session, with ids that last."""

    def __init__(self, tracker: VisionTracker) -> None:
        self._tracker = tracker
        self._tracking = Tracking()
        self._templates = Templates()

    def select(self, detectors: Collection[DetectorName]) -> None:
        """Look with ``detectors`` from now on, as far as they are available."""
        self._tracker.select(detectors)

    def look_for(self, templates: Sequence[TemplateImage]) -> None:
        """Find these pictures from now on, too, as things with their names.

        Raises :class:`~pipelines.errors.VisionError`: ``template_unusable`` or ``image_unusable``, and what is legal.
        """
        self._templates = Templates(templates)

    def detect(self, picture: Picture) -> tuple[Detection, ...]:
        """All that is found and followed in ``picture``. Raises what the detectors raise."""
        found = (*self._tracker.detect(picture), *self._templates.find(picture.pixels))
        return self._tracking.update(found, picture.time)

    def reset(self) -> None:
        """Forget who was followed and what was looked for: the next picture is of another session."""
        self._tracking, self._templates = Tracking(), Templates()

    def close(self) -> None:
        """Free the detectors. Idempotent."""
        self._tracker.close()
