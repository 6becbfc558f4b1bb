"""Hands, and what they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.mediapipe.hand_signs import NONE, sign_of
from pipelines.engines.mediapipe.parts import Task, View, VisionOptions, around, base_options, members_of, points_of
from pipelines.interfaces.vision import Detection

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
    task = _hand_landmarker(model, options)

    def look(view: View) -> list[Detection]:
        result = task.detect_for_video(view.image, view.timestamp)
        return [hand(*found) for found in zip(result.hand_landmarks, result.handedness, strict=True)]

    return Task(look, task.close)


def open_gestures(model: Path, options: VisionOptions) -> Task:
    """Hands as :func:`open_hands` finds them, with the gesture of each.

    A bundle without a network of gestures finds the hands, and their points tell the gestures.
    """
    from mediapipe.tasks.python import vision

    if _GESTURES not in members_of(model):
        return _open_signs(model, options)
    task = vision.GestureRecognizer.create_from_options(
        vision.GestureRecognizerOptions(
            base_options=base_options(model, options),
            running_mode=vision.RunningMode.VIDEO,
            num_hands=options.max_hands,
            min_hand_presence_confidence=options.min_hand_presence,
        )
    )

    def look(view: View) -> list[Detection]:
        result = task.recognize_for_video(view.image, view.timestamp)
        found = zip(result.hand_landmarks, result.handedness, result.gestures, strict=True)
        return [hand(marks, sides, _best(shown, options)) for marks, sides, shown in found]

    return Task(look, task.close)


def _open_signs(model: Path, options: VisionOptions) -> Task:
    task = _hand_landmarker(model, options)

    def look(view: View) -> list[Detection]:
        result = task.detect_for_video(view.image, view.timestamp)
        found = zip(result.hand_landmarks, result.handedness, result.hand_world_landmarks, strict=True)
        return [hand(marks, sides, word(*sign_of(_in_space(world)), options)) for marks, sides, world in found]

    return Task(look, task.close)


def _hand_landmarker(model: Path, options: VisionOptions) -> Any:
    from mediapipe.tasks.python import vision

    return vision.HandLandmarker.create_from_options(
        vision.HandLandmarkerOptions(
            base_options=base_options(model, options),
            running_mode=vision.RunningMode.VIDEO,
            num_hands=options.max_hands,
        )
    )


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
