"""Hands, and which of seven gestures they show: told by MediaPipe's model, or from a hand's 21 points alone.

For machines without the gesture model each gesture is a list of conditions that must all hold (fingers stretched or
folded, the thumb out or in, up or down) and counts as much as the worst of them. Labels and scores are the model's:
the share of belief that falls to a label, of which ``None`` gets what no gesture takes. Points are in space, as of
MediaPipe's world landmarks: any unit, x to the right and y down in the picture, z away from the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.mediapipe.parts import (
    Task,
    View,
    VisionOptions,
    apart,
    around,
    members_of,
    open_task,
    points_of,
    ramp,
)
from pipelines.interfaces.vision import Detection

Hand = NDArray[np.floating[Any]]
"""Shape ``(21, 3)``: wrist, thumb, index, middle, ring and little finger, of each finger four points to its tip."""

NONE = "None"
_WRIST, _THUMB_BASE, _THUMB_TIP, _LITTLE_BASE = 0, 2, 4, 17
_FINGERS = (5, 9, 13, 17)
"""The first point of the index, middle, ring and little finger."""
_FOLDED, _STRETCHED = 0.3, 0.8
"""How much farther from the wrist than its base a finger's tip is, in lengths of the finger."""
_THUMB_IN, _THUMB_OUT = 0.0, 0.7
"""How much farther from the little finger's base than its own base a thumb's tip is, in lengths of the thumb."""
_SLANT_MOST, _SLANT_LEAST = 0.35, 0.9
"""Cosine of the angle to the vertical at which something does not point up at all, and does so fully."""
_TOGETHER, _SPREAD = 4.0, 14.0
"""Degrees between index and middle finger: closed, and the sign of victory."""


def sign_of(hand: Hand) -> tuple[str, float]:
    """MediaPipe's name of the gesture, or ``None``, and its score 0–1."""
    scores = signs(hand)
    best = max(scores, key=lambda name: scores[name])
    return best, scores[best]


def signs(hand: Hand) -> dict[str, float]:
    """The score of every gesture and of ``None``; they add up to one."""
    index, middle, ring, little = (_stretched(hand, base) for base in _FINGERS)
    thumb = _thumb_out(hand)
    fist = [1 - index, 1 - middle, 1 - ring, 1 - little]
    up = _points_up(hand[_THUMB_TIP] - hand[_THUMB_BASE])
    beliefs = {
        "Closed_Fist": min(*fist, 1 - thumb),
        "Open_Palm": min(index, middle, ring, little, thumb),
        "Pointing_Up": min(index, *fist[1:], ramp(_points_up(hand[8] - hand[5]), _SLANT_MOST, _SLANT_LEAST)),
        "Thumb_Down": min(*fist, thumb, ramp(-up, _SLANT_MOST, _SLANT_LEAST)),
        "Thumb_Up": min(*fist, thumb, ramp(up, _SLANT_MOST, _SLANT_LEAST)),
        "Victory": min(index, middle, *fist[2:], 1 - thumb, ramp(_spread(hand), _TOGETHER, _SPREAD)),
        "ILoveYou": min(index, little, thumb, fist[1], fist[2]),
    }
    none = max(0.0, 1 - max(beliefs.values()))
    whole = sum(beliefs.values()) + none
    return {name: belief / whole for name, belief in beliefs.items()} | {NONE: none / whole}


def _stretched(hand: Hand, base: int) -> float:
    """How far a finger is stretched, 0–1."""
    joints = hand[base : base + 4]
    length = float(np.linalg.norm(np.diff(joints, axis=0), axis=1).sum())
    reach = apart(hand[base + 3], hand[_WRIST]) - apart(hand[base], hand[_WRIST])
    return ramp(reach / max(length, 1e-9), _FOLDED, _STRETCHED)


def _thumb_out(hand: Hand) -> float:
    """How far the thumb stands off the palm, 0–1."""
    joints = hand[_THUMB_BASE : _THUMB_TIP + 1]
    length = float(np.linalg.norm(np.diff(joints, axis=0), axis=1).sum())
    off = apart(hand[_THUMB_TIP], hand[_LITTLE_BASE]) - apart(hand[_THUMB_BASE], hand[_LITTLE_BASE])
    return ramp(off / max(length, 1e-9), _THUMB_IN, _THUMB_OUT)


def _spread(hand: Hand) -> float:
    """Degrees between the index and the middle finger."""
    one, other = hand[8] - hand[5], hand[12] - hand[9]
    cosine = float(one @ other) / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _points_up(direction: NDArray[np.floating[Any]]) -> float:
    """Cosine of the angle to the upward vertical."""
    return -float(direction[1]) / max(float(np.linalg.norm(direction)), 1e-9)


GESTURES = {
    "Thumb_Up": "thumbs up",
    "Thumb_Down": "thumbs down",
    "Open_Palm": "open palm",
    "Closed_Fist": "closed fist",
    "Pointing_Up": "pointing up",
    "Victory": "victory sign",
    "ILoveYou": "love sign",
}
"""MediaPipe's name → the word. ``None`` has none; those of a model trained for others are used as they are."""

_GESTURES = "hand_gesture_recognizer.task"
"""Member of the published bundle."""


def open_hands(model: Path, options: VisionOptions) -> Task:
    """21 points per hand, called ``left`` or ``right`` as the person does."""
    task = open_task("HandLandmarker", model, options, num_hands=options.max_hands)

    def detect(view: View) -> list[Detection]:
        result = task.detect_for_video(view.image, view.timestamp)
        return [hand(*found) for found in zip(result.hand_landmarks, result.handedness, strict=True)]

    return Task(detect, task.close)


def open_gestures(model: Path, options: VisionOptions) -> Task:
    """Hands as :func:`open_hands` finds them, with the gesture of each.

    A bundle without a network of gestures finds the hands, and their points tell the gestures.
    """
    if _GESTURES not in members_of(model):
        return _open_signs(model, options)
    most, least = options.max_hands, options.min_hand_presence
    task = open_task("GestureRecognizer", model, options, num_hands=most, min_hand_presence_confidence=least)

    def detect(view: View) -> list[Detection]:
        result = task.recognize_for_video(view.image, view.timestamp)
        found = zip(result.hand_landmarks, result.handedness, result.gestures, strict=True)
        return [hand(marks, sides, _best(shown, options)) for marks, sides, shown in found]

    return Task(detect, task.close)


def _open_signs(model: Path, options: VisionOptions) -> Task:
    task = open_task("HandLandmarker", model, options, num_hands=options.max_hands)

    def detect(view: View) -> list[Detection]:
        result = task.detect_for_video(view.image, view.timestamp)
        found = zip(result.hand_landmarks, result.handedness, result.hand_world_landmarks, strict=True)
        return [hand(marks, sides, word(*sign_of(_in_space(world)), options)) for marks, sides, world in found]

    return Task(detect, task.close)


def _in_space(world: Sequence[Any]) -> NDArray[np.float64]:
    """MediaPipe's world landmarks → metres, shape ``(21, 3)``."""
    return np.array([(mark.x, mark.y, mark.z) for mark in world], np.float64)


def hand(landmarks: Sequence[Any], handedness: Sequence[Any], gesture: str = "") -> Detection:
    """A hand from MediaPipe's landmarks and categories."""
    points = points_of(landmarks)
    side = handedness[0]
    return Detection("hand", 0, around(points), float(side.score), side.category_name.lower(), points, gesture=gesture)


def _best(gestures: Sequence[Any], options: VisionOptions) -> str:
    return word(str(gestures[0].category_name), float(gestures[0].score), options) if gestures else ""


def word(name: str, score: float, options: VisionOptions) -> str:
    """The word for MediaPipe's name of a gesture; none for what is none, or too uncertain."""
    if score < options.min_gesture_score:
        return ""
    return GESTURES.get(name, "" if name == NONE else name.replace("_", " ").lower())
