"""The scene in words, for the language model and for people; and what happens in it. Pure: media time in, events out.

Only what the detectors really tell is said: how many people, whether they face the camera or are close to it, which
hands are up and what they show, what lies about. Language models are trained on exactly these words. Events are
debounced: a gesture counts from its second picture in a row, so that it is told within 0.3 s at ten pictures per
second; people and attention take longer to be believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.interfaces.vision import Detection, contains
from pipelines.vision.events import (
    AttentionChanged,
    GestureEnded,
    GestureStarted,
    PersonAppeared,
    PersonLeft,
    SceneChanged,
    VisionEvent,
)
from pipelines.vision.tracking import HOLD_SECONDS, Follower, Following, Steady

_NUMBERS = ("no", "one", "two", "three", "four", "five")
_FACING, _AWAY, _CLOSE, _SMILING = "facing the camera", "looking away", "close to the camera", "smiling"
_YAW_LIMIT, _PITCH_LIMIT = 20.0, 25.0
"""Degrees up to which a head whose pose is known counts as turned to the camera."""
_SMILE = 0.5
"""Of a smile's amount, 0–1."""
_TOPICS = ("people", "hands", "facing", "close", "smiling", "gesture")
"""What is said, in this order, and after that"""
_THING = "thing "
"""things, each by its name."""
_MOST_THINGS = 4
_TURN_LIMIT = 0.2
"""Distance of the nose from the middle between the ears, in ear distances, up to which a face counts as turned to the
camera: about 20 degrees."""
_CLOSE_HEIGHT = 0.5
"""Height of a face, in heights of the picture."""
_SMALL_HEIGHT = 0.06
"""Below this the key points of a face are too coarse to tell where it is turned."""
_SLACK = 1.4
"""What was said before stays true until it is missed by this factor, or words would flicker at the limit."""
_RAISED_MARGIN = 0.1
"""How far above the shoulder line a hand is clearly raised, in shoulder widths."""
_RIGHT_EAR, _LEFT_EAR, _NOSE = 4, 5, 2
"""Key points of a face (BlazeFace)."""
_LEFT_SHOULDER, _RIGHT_SHOULDER = 11, 12
_POSE_NOSE, _POSE_LEFT_EAR, _POSE_RIGHT_EAR = 0, 7, 8
"""Landmarks of a pose (BlazePose)."""


PERSON = "person"
"""What detectors of things call somebody."""


def describe(detections: Sequence[Detection], before: str = "") -> str:
    """What the camera shows, such as ``one person, right hand raised, facing the camera, smiling, thumbs up, a cup``.

    ``before`` is what was said last: a statement near its limit then stays as it was. A face that looks small in the
    picture gets no word about where it is turned, and of several people only their number and raised hands are told.
    An outline alone is nobody: the segmenter outlines toys, too.
    """
    return _spoken(_statements(detections, before))


def _statements(detections: Sequence[Detection], before: str) -> dict[str, str]:
    """What there is to say, by what it is about: one of :data:`_TOPICS`, or a thing's own name."""
    faces = [found for found in detections if found.kind == "face"]
    hands = [found for found in detections if found.kind == "hand"]
    poses = [found for found in detections if found.kind == "pose"]
    objects = [found for found in detections if found.kind == "object"]
    people = max(len(faces), len(poses), sum(found.label == PERSON for found in objects))
    if not people:
        said = {"people": f"{_count(len(hands), 'hand')} visible" if hands else "nobody in view"}
    else:
        said = {"people": "one person" if people == 1 else f"{_number(people)} people"}
        said["hands"] = _hands(hands, faces, poses, people)
    if people == 1:
        said |= _face(faces[0], before) if faces else {}
        said["gesture"] = next((hand.gesture for hand in hands if hand.gesture), "")
    things = sorted({found.label for found in objects if found.label not in ("", PERSON)})
    said |= {f"{_THING}{thing}": f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}" for thing in things[:_MOST_THINGS]}
    return {topic: words for topic, words in said.items() if words}


def _spoken(said: Mapping[str, str]) -> str:
    things = sorted(topic for topic in said if topic.startswith(_THING))[:_MOST_THINGS]
    return ", ".join(said[topic] for topic in (*_TOPICS, *things) if topic in said)


def _face(face: Detection, before: str) -> dict[str, str]:
    facing = is_facing(face, _FACING in before)
    close = face.box[3] > (_CLOSE_HEIGHT / _SLACK if _CLOSE in before else _CLOSE_HEIGHT)
    smile = face.expression.smile if face.expression is not None else 0.0
    smiles = smile > (_SMILE / _SLACK if _SMILING in before else _SMILE)
    return {
        "facing": "" if facing is None else _FACING if facing else _AWAY,
        "close": _CLOSE if close else "",
        "smiling": _SMILING if smiles else "",
    }


def _hands(hands: Sequence[Detection], faces: Sequence[Detection], poses: Sequence[Detection], people: int) -> str:
    raised = [hand for hand in hands if _is_raised(hand, faces, poses)]
    if not hands:
        return ""
    if people > 1:
        return f"{_count(len(raised), 'hand')} raised" if raised else ""
    if not raised:
        return "both hands visible" if len(hands) > 1 else "one hand visible"
    if len(raised) > 1:
        return "both hands raised"
    return f"{raised[0].label or 'one'} hand raised"


def _is_raised(hand: Detection, faces: Sequence[Detection], poses: Sequence[Detection]) -> bool:
    """Above the shoulders of the body, or as high as the chin of the nearest face where no body is seen."""
    x, y = hand.box[0] + hand.box[2] / 2, hand.box[1] + hand.box[3] / 2
    shoulders = [pose.points[[_LEFT_SHOULDER, _RIGHT_SHOULDER]] for pose in poses if len(pose.points) > _RIGHT_SHOULDER]
    if shoulders:
        width = float(np.ptp(shoulders[0][:, 0]))
        return y < float(shoulders[0][:, 1].mean()) - _RAISED_MARGIN * width
    if not faces:
        return False
    nearest = min(faces, key=lambda face: abs(face.box[0] + face.box[2] / 2 - x))
    return y <= nearest.box[1] + nearest.box[3]


def is_facing(face: Detection, was: bool) -> bool | None:
    """Whether a face is turned to the camera, ``was`` being thought before; ``None`` where it is too small to tell."""
    if face.box[3] < _SMALL_HEIGHT:
        return None
    slack = _SLACK if was else 1.0
    looks = face.expression
    if looks is not None:
        return abs(looks.yaw) < slack * _YAW_LIMIT and abs(looks.pitch) < slack * _PITCH_LIMIT
    if len(face.points) <= _LEFT_EAR:
        return None
    right, left, nose = (float(face.points[point, 0]) for point in (_RIGHT_EAR, _LEFT_EAR, _NOSE))
    if abs(left - right) < 0.3 * face.box[2]:  # one ear hidden behind the other: a profile
        return False
    return abs(nose - (left + right) / 2) < _TURN_LIMIT * slack * abs(left - right)


def is_body_facing(pose: Detection, was: bool) -> bool | None:
    """The same of a body whose face is not found; seen from behind, its ears change places."""
    if len(pose.points) <= _POSE_RIGHT_EAR:
        return None
    nose, left, right = (float(pose.points[point, 0]) for point in (_POSE_NOSE, _POSE_LEFT_EAR, _POSE_RIGHT_EAR))
    return abs(nose - (left + right) / 2) < _TURN_LIMIT * (_SLACK if was else 1.0) * (left - right)


def _count(number: int, noun: str) -> str:
    return f"{_number(number)} {noun}{'s' if number != 1 else ''}"


def _number(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else "many"


_Object = tuple[str, int]
"""Kind and id."""


class SceneTracker:
    """Says when the scene has changed: its words, or which objects there are. One per session."""

    def __init__(self) -> None:
        self._said: Steady[str, str] = Steady()
        self._there: Steady[_Object, bool] = Steady()
        self._latest: dict[_Object, Detection] = {}
        """Of what is there, also where it was missed just now."""
        self._reported: tuple[str, frozenset[_Object]] = ("", frozenset())
        self._differs: float | None = None
        """Since when there has been something to report."""

    def update(self, detections: Sequence[Detection], time: float) -> SceneChanged | None:
        """Take the detections of the picture at media time ``time`` (seconds).

        A change is reported once, with the picture that confirms it; a single odd picture never is, however slow the
        pictures come. The first scene counts as a change. What flickers is left as it was, and what else changes is
        reported without it.
        """
        seen = {(found.kind, found.id): found for found in detections}
        self._said.update(_statements(detections, self._reported[0]), time)
        self._there.update(dict.fromkeys(seen, True), time)
        self._latest = {key: found for key, found in (self._latest | seen).items() if key in self._there.values} | seen
        scene = _spoken(self._said.values), frozenset(self._there.values)
        if scene == self._reported or not scene[0]:
            self._differs = None
            return None
        if self._differs is None or time < self._differs:
            self._differs = time
        if not (self._said.settled and self._there.settled) and time - self._differs < HOLD_SECONDS:
            return None  # more is about to change: that is told together
        self._reported, self._differs = scene, None
        missed = [self._latest[key] for key in self._there.values if key not in seen]
        return SceneChanged(
            scene[0], (*(found for found in detections if (found.kind, found.id) in scene[1]), *missed), time
        )


ATTENTION_SECONDS = 0.4
"""A shorter glance to the side does not count."""
LEAVE_SECONDS = 1.5
"""Without face and body somebody has left after this long."""
GESTURE_PICTURES = 2
"""In a row, for a gesture to begin or end."""
GESTURE_LOST_SECONDS = 0.4
"""A gesture has ended when its hand was not seen for this long."""
_HEAD = slice(0, 11)
"""Landmarks of a pose that lie on the head."""
_BODY_NOSE = 0
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
        x, y = float(pose.points[_BODY_NOSE, 0]), float(pose.points[_BODY_NOSE, 1])
        if any(contains(box, (x, y)) for box in faces):
            continue
        (left, top), (right, bottom) = pose.points[_HEAD].min(axis=0), pose.points[_HEAD].max(axis=0)
        size = 1.5 * max(float(right - left), float(bottom - top))  # about as large as a face's box
        boxes.append((x - size / 2, y - size / 2, size, size))
    return [Detection("person", 0, box, 1.0) for box in boxes]
