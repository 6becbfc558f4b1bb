"""The scene in words, for the language model and for people; and when it has changed.

Only what the detectors really tell is said: how many people, whether they face the camera or are close to it, which
hands are up. Pure: media time in, events out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.ports import Detection
from pipelines.vision.events import SceneChanged

HOLD_SECONDS = 0.4
"""A new scene is reported when it has lasted this long; shorter than a gesture, longer than a missed frame."""

_NUMBERS = ("no", "one", "two", "three", "four", "five")
_FACING, _CLOSE = "facing the camera", "close to the camera"
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
"""Landmarks of a pose (BlazePose)."""


def describe(detections: Sequence[Detection], before: str = "") -> str:
    """What the camera shows, such as ``one person, right hand raised, facing the camera``.

    ``before`` is what was said last: a statement near its limit then stays as it was. A face that looks small in the
    picture gets no word about where it is turned, and of several people only their number and raised hands are told.
    """
    faces = [found for found in detections if found.kind == "face"]
    hands = [found for found in detections if found.kind == "hand"]
    poses = [found for found in detections if found.kind == "pose"]
    people = max(len(faces), len(poses))
    if not people:
        return f"{_count(len(hands), 'hand')} visible" if hands else "nobody in view"
    words = ["one person" if people == 1 else f"{_NUMBERS[people] if people < len(_NUMBERS) else 'many'} people"]
    words += _hands(hands, faces, poses, people)
    if people == 1 and faces:
        words += [_FACING] * _is_facing(faces[0], _FACING in before)
        words += [_CLOSE] * (faces[0].box[3] > (_CLOSE_HEIGHT / _SLACK if _CLOSE in before else _CLOSE_HEIGHT))
    return ", ".join(words)


def _hands(
    hands: Sequence[Detection], faces: Sequence[Detection], poses: Sequence[Detection], people: int
) -> list[str]:
    raised = [hand for hand in hands if _is_raised(hand, faces, poses)]
    if not hands:
        return []
    if people > 1:
        return [f"{_count(len(raised), 'hand')} raised"] if raised else []
    if not raised:
        return ["both hands visible" if len(hands) > 1 else "one hand visible"]
    if len(raised) > 1:
        return ["both hands raised"]
    return [f"{raised[0].label or 'one'} hand raised"]


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


def _is_facing(face: Detection, was: bool) -> bool:
    if len(face.points) <= _LEFT_EAR or face.box[3] < _SMALL_HEIGHT:
        return False
    ears = face.points[[_RIGHT_EAR, _LEFT_EAR], 0]
    distance = float(np.ptp(ears))
    if distance < 0.3 * face.box[2]:  # one ear hidden behind the other: a profile
        return False
    turn = abs(float(face.points[_NOSE, 0] - ears.mean())) / distance
    return turn < _TURN_LIMIT * (_SLACK if was else 1)


def _count(number: int, noun: str) -> str:
    return f"{_NUMBERS[number] if number < len(_NUMBERS) else 'many'} {noun}{'s' if number != 1 else ''}"


_Objects = frozenset[tuple[str, int]]


class SceneTracker:
    """Says when the scene has changed: its words, or which objects there are. One per session."""

    def __init__(self, hold_seconds: float = HOLD_SECONDS) -> None:
        self._hold_seconds = hold_seconds
        self._reported: tuple[str, _Objects] = ("", frozenset())
        self._candidate = self._reported
        self._since = 0.0

    def update(self, detections: Sequence[Detection], time: float) -> SceneChanged | None:
        """Take the detections of the picture at media time ``time`` (seconds).

        A change is reported once, with the picture that confirms it; a single odd picture never is, however slow the
        pictures come. The first scene counts as a change.
        """
        scene = describe(detections, self._reported[0])
        seen = scene, frozenset((found.kind, found.id) for found in detections)
        if seen != self._candidate or time < self._since:
            self._candidate, self._since = seen, time
            return None
        if seen == self._reported or time - self._since < self._hold_seconds:
            return None
        self._reported = seen
        return SceneChanged(scene, tuple(detections), time)
