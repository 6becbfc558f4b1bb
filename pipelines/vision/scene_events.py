"""What happens before the camera: who comes and goes, which gestures begin and end, whether somebody looks here.

Debounced, each with the patience it can afford: a gesture counts from its second picture in a row, so that it is told
within 0.3 s at ten pictures per second; people and attention take longer to be believed. Pure: media time in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.interfaces.vision import Detection, contains
from pipelines.vision.events import (
    AttentionChanged,
    GestureEnded,
    GestureStarted,
    PersonAppeared,
    PersonLeft,
    VisionEvent,
)
from pipelines.vision.scene import SceneTracker, is_body_facing, is_facing
from pipelines.vision.tracking import Follower, Following

ATTENTION_SECONDS = 0.4
"""A look to the side that is shorter is none."""
LEAVE_SECONDS = 1.5
"""Without face and body somebody has left after this long."""
GESTURE_PICTURES = 2
"""In a row, for a gesture to begin or end."""
GESTURE_LOST_SECONDS = 0.4
"""A gesture has ended when its hand was not seen for this long."""
_HEAD = slice(0, 11)
"""Landmarks of a pose that lie on the head."""
_NOSE = 0
_Attention = Literal["facing", "away"]


class SceneEvents:
    """All events of one session, the scene's words among them."""

    def __init__(self) -> None:
        self._scene = SceneTracker()
        self._people = People()
        self._gestures = Gestures()
        self._attention = Attention()

    def update(self, detections: Sequence[Detection], time: float) -> list[VisionEvent]:
        """Take the detections of the picture at media time ``time`` (seconds), with ids that last."""
        events: list[VisionEvent] = [*self._people.update(detections, time), *self._gestures.update(detections, time)]
        events += self._attention.update(detections, time)
        changed = self._scene.update(detections, time)
        return [*events, changed] if changed is not None else events

    def end(self) -> list[VisionEvent]:
        """The camera has stopped: gestures end and everybody leaves."""
        return [*self._gestures.end(), *self._people.end()]


class People:
    """Who is there: a face, or a body whose face is not seen, stays the same person while the head stays near."""

    def __init__(self) -> None:
        self._heads = Follower(Following(hits=2, keep_seconds=LEAVE_SECONDS, reach=2.0))
        self._present: set[int] = set()
        self._time = 0.0

    def update(self, detections: Sequence[Detection], time: float) -> list[PersonAppeared | PersonLeft]:
        """Events of the picture at media time ``time``."""
        self._time = time
        seen = {head.id for head in self._heads.update(_heads(detections), time)}
        gone = self._present.intersection(self._heads.lost)
        new = seen - self._present
        self._present = (self._present | new) - gone
        return [*(PersonLeft(id, time) for id in sorted(gone)), *(PersonAppeared(id, time) for id in sorted(new))]

    def end(self) -> list[PersonLeft]:
        """Nobody is there any more."""
        gone, self._present = sorted(self._present), set()
        return [PersonLeft(id, self._time) for id in gone]


@dataclass(slots=True)
class _Shown:
    """What one hand shows."""

    hand: str
    gesture: str = ""
    """That has begun."""
    last: float = 0.0
    """When the hand was seen."""
    shown: float = 0.0
    """When the gesture was seen."""
    candidate: str = ""
    since: float = 0.0
    pictures: int = 0


class Gestures:
    """Gestures of each hand, by its id."""

    def __init__(self) -> None:
        self._hands: dict[int, _Shown] = {}
        self._time = 0.0

    def update(self, detections: Sequence[Detection], time: float) -> list[GestureStarted | GestureEnded]:
        """Events of the picture at media time ``time``, endings first."""
        if time < self._time:  # the clock has been set
            for shown in self._hands.values():
                shown.last = time
        self._time = time
        ended: list[GestureEnded] = []
        started: list[GestureStarted] = []
        for hand in (found for found in detections if found.kind == "hand"):
            shown = self._hands.setdefault(hand.id, _Shown(hand.label))
            shown.last, shown.hand = time, hand.label
            if hand.gesture == shown.gesture:
                shown.shown, shown.candidate, shown.pictures = time, shown.gesture, 0
                continue
            if hand.gesture != shown.candidate or not shown.pictures:
                shown.candidate, shown.since, shown.pictures = hand.gesture, time, 0
            shown.pictures += 1
            if shown.pictures >= GESTURE_PICTURES:
                if shown.gesture:
                    ended.append(GestureEnded(shown.hand, shown.gesture, shown.shown))
                if shown.candidate:
                    started.append(GestureStarted(shown.hand, shown.candidate, shown.since))
                shown.gesture, shown.shown, shown.pictures = shown.candidate, time, 0
        for id, shown in list(self._hands.items()):
            if time - shown.last > GESTURE_LOST_SECONDS:
                del self._hands[id]
                if shown.gesture:
                    ended.append(GestureEnded(shown.hand, shown.gesture, shown.shown))
        return [*ended, *started]

    def end(self) -> list[GestureEnded]:
        """No hand is there any more."""
        hands, self._hands = self._hands, {}
        return [GestureEnded(shown.hand, shown.gesture, shown.shown) for shown in hands.values() if shown.gesture]


class Attention:
    """Whether anybody looks at the camera; nothing is told while nobody is there."""

    def __init__(self) -> None:
        self._told: _Attention | None = None
        self._candidate: _Attention | None = None
        self._since = 0.0

    def update(self, detections: Sequence[Detection], time: float) -> list[AttentionChanged]:
        """Events of the picture at media time ``time``."""
        now = _attention(detections, self._told)
        if now != self._candidate or time < self._since:
            self._candidate, self._since = now, time
            return []
        if now == self._told or time - self._since < ATTENTION_SECONDS:
            return []
        self._told = now
        return [AttentionChanged(now, time)] if now is not None else []


def _attention(detections: Sequence[Detection], before: _Attention | None) -> _Attention | None:
    faces = [found for found in detections if found.kind == "face"]
    was = before == "facing"
    looks = [is_facing(face, was) for face in faces]
    if not faces:
        looks = [is_body_facing(found, was) for found in detections if found.kind == "pose"]
        if not looks:
            return None
    if True in looks:
        return "facing"
    return "away" if False in looks else before


def _heads(detections: Sequence[Detection]) -> list[Detection]:
    """Faces, and the heads of bodies without one, all of kind ``person``."""
    faces = [found.box for found in detections if found.kind == "face"]
    boxes = list(faces)
    for pose in (found for found in detections if found.kind == "pose" and len(found.points) >= _HEAD.stop):
        x, y = float(pose.points[_NOSE, 0]), float(pose.points[_NOSE, 1])
        if any(contains(box, (x, y)) for box in faces):
            continue
        (left, top), (right, bottom) = pose.points[_HEAD].min(axis=0), pose.points[_HEAD].max(axis=0)
        size = 1.5 * max(float(right - left), float(bottom - top))  # about as large as a face's box
        boxes.append((x - size / 2, y - size / 2, size, size))
    return [Detection("person", 0, box, 1.0) for box in boxes]
