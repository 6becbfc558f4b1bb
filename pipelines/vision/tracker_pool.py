"""Trackers for sessions that come and go: opening one takes long, and closing it does not give all its memory back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from media.frames import Picture
from pipelines.errors import PipelineError
from pipelines.interfaces.vision import Detection, VisionDetector, VisionTracker
from pipelines.models.memory import trim_heap
from pipelines.vision.settings import DetectorName, TemplateImage

log = logging.getLogger(__name__)

BETWEEN_SESSIONS = 5.0
"""Seconds of a tracker's own time between the last picture of one session and the first of the next."""


class TrackerPool:
    """Opens trackers of one family of detectors, and keeps up to ``spare`` that are not in use for the next session.

    A tracker is handed on only when nothing in it has failed, and only after it has forgotten what it followed.
    Blocking: call it on a worker. Safe from several threads.
    """

    def __init__(self, detector: VisionDetector, spare: int = 1, release: Callable[[], object] = trim_heap) -> None:
        self._detector = detector
        self._release = release
        self._spare = spare
        self._idle: list[LentTracker] = []
        self._lock = threading.Lock()
        self._closed = False

    def open(self, detectors: Collection[DetectorName]) -> LentTracker:
        """A tracker for one session, preferably one that has ``detectors`` open; others still have to be selected.

        Raises :class:`VisionError`.
        """
        with self._lock:
            same = [tracker for tracker in self._idle if set(tracker.detectors) == set(detectors)]
            idle = same or self._idle
            if idle:
                tracker = idle[0]
                self._idle.remove(tracker)
                return tracker.again()
        return LentTracker(self, self._detector.open(detectors), detectors)

    def take_back(self, tracker: LentTracker) -> None:
        """Keep a tracker for later, or close it. Called by :meth:`LentTracker.close`."""
        try:
            reusable = self._spare > 0 and tracker.forget()
        except Exception as error:
            if not isinstance(error, PipelineError):
                log.exception("a tracker could not be used again")
            reusable = False
        with self._lock:
            kept = reusable and not self._closed and len(self._idle) < self._spare
            if kept:
                self._idle.append(tracker)
        if not kept:
            tracker.destroy()
        self._release()  # what a session leaves, and two thirds of a closed tracker, would stay with the process

    def close(self) -> None:
        """Close the trackers that are not in use; those that are close when they are given back. Idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for tracker in idle:
            tracker.destroy()


class LentTracker:
    """A tracker as one session has it.

    Its pictures' times continue those of the session before: MediaPipe wants them to increase while a detector is open.
    """

    def __init__(self, pool: TrackerPool, tracker: VisionTracker, detectors: Collection[DetectorName]) -> None:
        self.detectors = tuple(detectors)
        """What was selected last."""
        self._pool = pool
        self._tracker = tracker
        self._lent = True
        self._sound = True
        self._offset: float | None = None
        self._last = 0.0

    def again(self) -> LentTracker:
        """The same for another session."""
        self._lent, self._offset = True, None
        return self

    def select(self, detectors: Collection[DetectorName]) -> None:
        """Have these detectors open and no others. Raises :class:`VisionError` when one cannot be opened."""
        self.detectors = tuple(detectors)
        self._guarded(self._tracker.select, detectors)

    def look_for(self, templates: Sequence[TemplateImage]) -> None:
        """Find these pictures, too. Raises :class:`VisionError` for one that cannot be looked for."""
        if (look_for := getattr(self._tracker, "look_for", None)) is not None:  # trackers that follow what they find
            look_for(templates)

    def detect(self, picture: Picture) -> tuple[Detection, ...]:
        """As :meth:`VisionTracker.detect`."""
        if self._offset is None:
            self._offset = self._last + BETWEEN_SESSIONS - picture.time if self._last else 0.0
        self._last = max(self._last, picture.time + self._offset)
        found: tuple[Detection, ...] = self._guarded(self._tracker.detect, Picture(picture.pixels, self._last))
        return found

    def forget(self) -> bool:
        """Lose track of everything; whether the tracker can be used again."""
        if not self._sound:
            return False
        self._last += BETWEEN_SESSIONS
        if self._last > BETWEEN_SESSIONS:  # an empty picture: what was being followed is no longer there
            self._guarded(self._tracker.detect, Picture(np.full((64, 64, 3), 128, np.uint8), self._last))
        if (reset := getattr(self._tracker, "reset", None)) is not None:  # detectors that number what they follow
            reset()
        return self._sound

    def close(self) -> None:
        """Give it back. Idempotent."""
        if self._lent:
            self._lent = False
            self._pool.take_back(self)

    def destroy(self) -> None:
        """Free the detectors."""
        self._lent = False
        self._tracker.close()

    def _guarded(self, function: Any, *args: object) -> Any:
        try:
            return function(*args)
        except Exception:  # also what nobody thought of
            self._sound = False
            raise
