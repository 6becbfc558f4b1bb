"""Hands, and what they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.engines.mediapipe_parts import Task, View, VisionOptions, around, base_options, points_of
from pipelines.ports import Detection

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


def open_hands(model: Path, options: VisionOptions) -> Task:
    """21 points per hand, called ``left`` or ``right`` as the person does."""
    from mediapipe.tasks.python import vision

    task = vision.HandLandmarker.create_from_options(
        vision.HandLandmarkerOptions(
            base_options=base_options(model, options),
            running_mode=vision.RunningMode.VIDEO,
            num_hands=options.max_hands,
        )
    )

    def look(view: View) -> list[Detection]:
        result = task.detect_for_video(view.image, view.timestamp)
        return [hand(*found) for found in zip(result.hand_landmarks, result.handedness, strict=True)]

    return Task(look, task.close)


def open_gestures(model: Path, options: VisionOptions) -> Task:
    """Hands as :func:`open_hands` finds them, with the gesture of each."""
    from mediapipe.tasks.python import vision

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
        return [hand(marks, sides, _word(shown, options)) for marks, sides, shown in found]

    return Task(look, task.close)


def hand(landmarks: Sequence[Any], handedness: Sequence[Any], gesture: str = "") -> Detection:
    """A hand from MediaPipe's landmarks and categories."""
    points = points_of(landmarks)
    side = handedness[0]
    return Detection("hand", 0, around(points), float(side.score), side.category_name.lower(), points, gesture=gesture)


def _word(gestures: Sequence[Any], options: VisionOptions) -> str:
    best = gestures[0] if gestures else None
    if best is None or best.score < options.min_gesture_score:
        return ""
    name = str(best.category_name)
    return GESTURES.get(name, "" if name == "None" else name.replace("_", " ").lower())
