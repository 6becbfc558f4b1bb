"""Follows what was found from picture to picture: lasting ids, where things have been, which faces are believed.

**Ids.** Each thing is expected where it was heading (constant velocity) and takes the detection that fits, by overlap
and distance, such that all together fit best. First the sure detections are dealt out, then the faint ones to what is
still missing: they may continue a thing that is half hidden, and never begin one (ByteTrack: Zhang et al.,
arXiv:2110.06864). While things of a kind cover each other, their velocities stay as they were before, for a box then
often holds both. A thing that is missed for a moment keeps its id; ids are not used twice in a session.

**Faces that are none.** The short-range face model fires on clocks and toys with scores of 0.70–0.87, while real faces
get 0.56–0.93; no threshold separates them. A face is told once something else speaks for it:

* the pose detector puts a body's nose into it (a drawn teddy that BlazeFace gives 0.8 has none), or
* the face landmarker accepts it (``points`` is its mesh; weaker: a well drawn face passes), or
* its score is 0.9 or more, which clocks and toys do not reach, or
* it has moved by a quarter of its width: what hangs on a wall or sits on a shelf does not.

The first three need two pictures; a face once told stays. Without the pose detector and the landmarker, somebody who
sits still and scores under 0.9 is therefore told late, and a toy that is carried about is taken for a face.

Pure; media time in.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np

from media.frames import Picture
from pipelines.interfaces.vision import (
    Box,
    Detection,
    DetectionKind,
    VisionDetector,
    VisionTracker,
    apart,
    centre,
    contains,
    overlap,
)
from pipelines.vision.association import assign
from pipelines.vision.settings import DetectorName, TemplateImage
from pipelines.vision.templates import Templates


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
        """Use ``detectors`` from now on, as far as they are available."""
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


TRAIL_SECONDS = 1.0
_TRAIL_POINTS = 24
_SURE_SCORE = 0.9
_MOVED = 0.25
"""Widths of the face."""
_MESH_POINTS = 100
"""More than the six of a face that is only boxed."""
_NOSE = 0
"""Landmark of a pose."""
SURE_THING = 0.5
"""Score with which a thing begins to be followed; fainter ones only go on."""
_VELOCITY_SECONDS = 0.4
"""Time over which it is measured."""
_COVERS = 0.1
"""Overlap of where two are expected, from which their boxes may hold both."""
_FARTHEST_GUESS = 0.5
"""Seconds that a thing is thought to go on as it went."""


@dataclass(frozen=True, slots=True)
class Following:
    """How things of one kind are followed."""

    hits: int
    """Pictures in which something must be seen (or, for a face, spoken for) before it is told."""
    keep_seconds: float
    """How long something may be missed and still be the same."""
    reach: float
    """How far from where it was expected something may be, in its own sizes."""
    by_label: bool = False
    """Whether things with different labels are different."""
    sure: float = 0.0
    """Score with which one begins; a fainter detection only continues what was there."""


FOLLOWING: dict[DetectionKind, Following] = {
    "face": Following(hits=2, keep_seconds=1.0, reach=0.8),
    "hand": Following(hits=1, keep_seconds=0.5, reach=1.5),  # at once: gestures are waited for
    "pose": Following(hits=1, keep_seconds=1.0, reach=1.0),
    "object": Following(hits=2, keep_seconds=1.0, reach=0.8, by_label=True, sure=SURE_THING),
}
"""Kinds that are followed; others pass through."""


@dataclass(slots=True)
class Track:
    """One thing that is followed."""

    seen: Detection
    time: float
    start: Box
    id: int | None = None
    """``None`` until it is told."""
    hits: int = 0
    velocity: tuple[float, float] = (0.0, 0.0)
    """Pictures per second, across and down."""
    trail: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=_TRAIL_POINTS))
    free: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=_TRAIL_POINTS))
    """The same without the places at which it may have been covered by another."""

    def expected(self, time: float) -> Box:
        """Where it would be at ``time`` if it went on as it went."""
        ahead = min(time - self.time, _FARTHEST_GUESS)
        x, y, width, height = self.seen.box
        return x + ahead * self.velocity[0], y + ahead * self.velocity[1], width, height

    def take(self, seen: Detection, time: float, *, covered: bool = False) -> None:
        """It is here now; ``covered``: or what covers it, or both."""
        u, v = centre(seen.box)
        if not covered:
            self.free.append((time, u, v))
            while self.free[0][0] < time - _VELOCITY_SECONDS:
                self.free.popleft()
            self.velocity = _slope(self.free)
        self.seen, self.time = seen, time
        self.trail.append((time, u, v))
        while self.trail[0][0] < time - TRAIL_SECONDS:
            self.trail.popleft()

    def shift(self, seconds: float) -> None:
        """The clock has been set."""
        self.time += seconds
        for places in (self.trail, self.free):
            moved = [(at + seconds, x, y) for at, x, y in places]
            places.clear()
            places.extend(moved)

    def told(self) -> Detection:
        """What was seen last, with id and trail."""
        assert self.id is not None
        return replace(self.seen, id=self.id, trail=np.array([point[1:] for point in self.trail], np.float32))


class Follower:
    """Follows things of one kind. When the time jumps back, what is followed goes with it."""

    def __init__(self, options: Following) -> None:
        self.lost: list[int] = []
        """Ids of what the last update gave up."""
        self._options = options
        self._tracks: list[Track] = []
        self._next = 0
        self._time = 0.0

    def update(
        self, now: Sequence[Detection], time: float, believed: Callable[[Track], bool] = lambda track: True
    ) -> list[Detection]:
        """What is told of the picture at media time ``time``. Pictures in which it is not ``believed`` are no hits."""
        options = self._options
        if time < self._time:
            for track in self._tracks:
                track.shift(time - self._time)
        self._time = time
        kept = [track for track in self._tracks if time - track.time <= options.keep_seconds]
        self.lost = [track.id for track in self._tracks if track.id is not None and track not in kept]
        self._tracks = kept
        told = []
        for track, seen, covered in self._assigned(now, time):
            track.take(seen, time, covered=covered)
            if track.id is None:
                track.hits += believed(track)
                if track.hits >= options.hits:
                    track.id, self._next = self._next, self._next + 1
            if track.id is not None:
                told.append(track.told())
        return sorted(told, key=lambda detection: detection.id)

    def _assigned(self, now: Sequence[Detection], time: float) -> list[tuple[Track, Detection, bool]]:
        """Each detection with its track, a new one where none fits, and whether another one covers it; faint ones that
        continue nothing are left out."""
        before, options = list(self._tracks), self._options
        expected = [track.expected(time) for track in before]
        pairs: dict[int, int] = {}
        for sure in (True, False):
            left = [t for t in range(len(before)) if t not in pairs.values()]
            new = [d for d, seen in enumerate(now) if (seen.score >= options.sure) == sure]
            fits = [[_fit(before[t].seen, expected[t], now[d], options) for d in new] for t in left]
            pairs |= {new[d]: left[t] for d, t in assign(fits).items()}
        found = []
        for d, seen in enumerate(now):  # in their order, so that new ids go from left to right
            if d in pairs:
                others = (box for t, box in enumerate(expected) if t != pairs[d])
                covered = any(overlap(expected[pairs[d]], box) > _COVERS for box in others)
                found.append((before[pairs[d]], seen, covered))
            elif seen.score >= options.sure:
                self._tracks.append(Track(seen, time, seen.box))
                found.append((self._tracks[-1], seen, False))
        return found


def _slope(places: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Pictures per second, across and down: the line through ``places`` with the least squares."""
    count = len(places)
    middle = [sum(place[n] for place in places) / count for n in range(3)]
    spread = sum((at - middle[0]) ** 2 for at, _, _ in places)
    if spread <= 0:
        return 0.0, 0.0
    across = sum((at - middle[0]) * (x - middle[1]) for at, x, _ in places) / spread
    down = sum((at - middle[0]) * (y - middle[2]) for at, _, y in places) / spread
    return across, down


class Tracking:
    """What is followed in one session."""

    def __init__(self) -> None:
        self._followers = {kind: Follower(options) for kind, options in FOLLOWING.items()}

    def update(self, detections: Sequence[Detection], time: float) -> tuple[Detection, ...]:
        """The detections of the picture at media time ``time`` (seconds) that are believed, with ids and trails."""
        poses = [seen for seen in detections if seen.kind == "pose"]
        told: list[Detection] = []
        for kind, follower in self._followers.items():
            now = [seen for seen in detections if seen.kind == kind]
            if kind == "face":
                told += follower.update(now, time, lambda track: _spoken_for(track, poses))
            else:
                told += follower.update(now, time)
        return (*told, *(seen for seen in detections if seen.kind not in self._followers))


def _fit(before: Detection, expected: Box, seen: Detection, options: Following) -> float | None:
    """Higher is better; ``None`` where ``seen`` cannot be the same thing."""
    other_label = before.label != seen.label
    distance = apart(expected, seen.box)
    if (other_label and options.by_label) or distance > options.reach:
        return None
    return overlap(expected, seen.box) - distance - 0.5 * other_label


def _spoken_for(track: Track, poses: Sequence[Detection]) -> bool:
    face = track.seen
    if face.score >= _SURE_SCORE or len(face.points) > _MESH_POINTS:
        return True
    (x, y), (u, v) = centre(track.start), centre(face.box)
    if max(abs(u - x), abs(v - y)) > _MOVED * face.box[2]:
        return True
    return any(
        len(pose.points) > _NOSE and contains(face.box, (float(pose.points[_NOSE, 0]), float(pose.points[_NOSE, 1])))
        for pose in poses
    )


HOLD_SECONDS = 0.4
"""What is new is believed when it has lasted this long; shorter than a gesture, longer than a missed frame."""

K = TypeVar("K")
V = TypeVar("V")


class Steady(Generic[K, V]):
    """What has been the same for :data:`HOLD_SECONDS`, each for itself; until then it is what it was before.

    So one thing that comes and goes with every picture keeps nothing else from being told.
    """

    def __init__(self) -> None:
        self.values: dict[K, V] = {}
        self._new: dict[K, tuple[V | None, float]] = {}
        """What is otherwise now, ``None`` where it is gone, and since when."""

    @property
    def settled(self) -> bool:
        """Whether all is now as ``values`` say."""
        return not self._new

    def update(self, now: Mapping[K, V], time: float) -> None:
        """Take what there is at media time ``time`` (seconds)."""
        for key in {*now, *self.values, *self._new}:
            value = now.get(key)
            new, since = self._new.get(key, (None, math.inf))
            if value == self.values.get(key):
                self._new.pop(key, None)
            elif new != value or time < since:
                self._new[key] = value, time
            elif time - since >= HOLD_SECONDS:
                del self._new[key]
                if value is None:
                    del self.values[key]
                else:
                    self.values[key] = value
