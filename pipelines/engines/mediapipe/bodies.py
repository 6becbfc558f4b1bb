"""Bodies: their pose, where they are in the picture, and all of one person together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipelines.engines.mediapipe.faces import express, in_space, mesh_face
from pipelines.engines.mediapipe.mesh_expression import turn_of_mesh
from pipelines.engines.mediapipe.parts import Points, Task, View, VisionOptions, around, open_task, points_of
from pipelines.interfaces.vision import Detection
from pipelines.vision.images import smaller

_TRUNK = (0, 11, 12)
"""Nose and shoulders: the part of a body that a camera on a desk shows."""
_VISIBLE = 0.5
_MASK_SIDE = 256
"""Pixels: what the segmenter's network sees."""
_SMALLEST_PERSON = 0.02
"""Share of the picture below which what is marked is noise."""


def open_pose(model: Path, options: VisionOptions) -> Task:
    """33 points of one body."""
    task = open_task("PoseLandmarker", model, options, num_poses=1)

    def detect(view: View) -> list[Detection]:
        return [_pose(marks) for marks in task.detect_for_video(view.image, view.timestamp).pose_landmarks]

    return Task(detect, task.close)


def open_segmentation(model: Path, options: VisionOptions) -> Task:
    """Where people are: one detection of kind ``person`` with its mask, or none."""
    import mediapipe

    task = open_task("ImageSegmenter", model, options, output_confidence_masks=True)

    def detect(view: View) -> list[Detection]:
        small = smaller(view.pixels, _MASK_SIDE)
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=small)
        masks = task.segment_for_video(image, view.timestamp).confidence_masks
        chance = masks[-1].numpy_view().reshape(small.shape[:2])  # of several classes the person is the last
        return person((chance * 255).astype(np.uint8))

    return Task(detect, task.close)


def person(mask: np.ndarray[Any, np.dtype[np.uint8]]) -> list[Detection]:
    """Mask → the detection; empty where too little is marked to be somebody."""
    rows, columns = mask.shape
    marked = mask > 127
    if marked.mean() < _SMALLEST_PERSON:
        return []
    down, across = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    left, top = float(across[0]) / columns, float(down[0]) / rows
    box = left, top, float(across[-1] + 1) / columns - left, float(down[-1] + 1) / rows - top
    return [Detection("person", 0, box, float(mask[marked].mean()) / 255, mask=mask)]


def open_holistic(model: Path, options: VisionOptions) -> Task:
    """Face with expression, hands and pose of one person, by one chain of networks."""
    task = open_task("HolisticLandmarker", model, options, output_face_blendshapes=True)

    def detect(view: View) -> list[Detection]:
        height, width = view.pixels.shape[:2]
        return holistic(task.detect_for_video(view.image, view.timestamp), width, height)

    return Task(detect, task.close)


def holistic(result: Any, width: int, height: int) -> list[Detection]:
    """MediaPipe's result for a picture of this size → detections; the score of a hand is that of its pose."""
    found = [_pose(result.pose_landmarks)] if result.pose_landmarks else []
    score = found[0].score if found else _VISIBLE
    if result.face_landmarks:
        expression = express(
            result.face_blendshapes or (), *turn_of_mesh(in_space(result.face_landmarks, width, height))
        )
        found.append(mesh_face(result.face_landmarks, expression))
    for side, landmarks in (("left", result.left_hand_landmarks), ("right", result.right_hand_landmarks)):
        if landmarks:
            points = points_of(landmarks)
            found.append(Detection("hand", 0, around(points), score, side, points))
    return found


def _pose(landmarks: Any) -> Detection:
    points: Points = points_of(landmarks)
    visible = np.array([mark.visibility or 0.0 for mark in landmarks], np.float32)
    seen = points[visible > _VISIBLE]
    score = float(visible[list(_TRUNK)].mean())
    return Detection("pose", 0, around(seen if len(seen) else points), score, "", points)
