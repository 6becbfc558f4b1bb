"""Faces: boxes by BlazeFace, or 478 points with what the face expresses by the face landmarker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.mediapipe_parts import Task, View, VisionOptions, around, base_options, inside, points_of
from pipelines.ports import Detection, Expression

MESH_POINTS = 478
_ACCEPTED = 0.5
"""The least chance of a face that the face landmarker lets pass; it does not tell the chance itself."""
_RIGHT_CHEEK, _LEFT_CHEEK, _FOREHEAD, _CHIN = 234, 454, 10, 152
"""Points of the mesh at the edges of the face; right and left as the person calls them."""


def open_faces(model: Path, options: VisionOptions) -> Task:
    """Boxes, scores and six key points of faces up to two metres away."""
    from mediapipe.tasks.python import vision

    task = vision.FaceDetector.create_from_options(
        vision.FaceDetectorOptions(
            base_options=base_options(model, options),
            running_mode=vision.RunningMode.VIDEO,
            min_detection_confidence=options.min_face_score,
        )
    )

    def look(view: View) -> list[Detection]:
        height, width = view.pixels.shape[:2]
        found = []
        for face in task.detect_for_video(view.image, view.timestamp).detections:
            box = face.bounding_box
            left, top = box.origin_x / width, box.origin_y / height
            edges = inside(left, top, left + box.width / width, top + box.height / height)
            found.append(Detection("face", 0, edges, float(face.categories[0].score), "", points_of(face.keypoints)))
        return found

    return Task(look, task.close)


def open_face_landmarks(model: Path, options: VisionOptions) -> Task:
    """The mesh and the expression of faces; their score is only what the model lets pass."""
    from mediapipe.tasks.python import vision

    task = vision.FaceLandmarker.create_from_options(
        vision.FaceLandmarkerOptions(
            base_options=base_options(model, options),
            running_mode=vision.RunningMode.VIDEO,
            num_faces=options.max_faces,
            min_face_presence_confidence=_ACCEPTED,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
    )

    def look(view: View) -> list[Detection]:
        result = task.detect_for_video(view.image, view.timestamp)
        faces = zip(result.face_landmarks, result.face_blendshapes, result.facial_transformation_matrixes, strict=True)
        return [mesh_face(marks, express(shapes, *turn_of_matrix(matrix))) for marks, shapes, matrix in faces]

    return Task(look, task.close)


def mesh_face(landmarks: Sequence[Any], expression: Expression) -> Detection:
    """A face from the points of its mesh."""
    points = points_of(landmarks)
    return Detection("face", 0, around(points), _ACCEPTED, "", points, expression=expression)


def express(blendshapes: Sequence[Any], yaw: float, pitch: float) -> Expression:
    """MediaPipe's 52 blendshapes → what the rest of the system asks for."""
    amount = {shape.category_name: float(shape.score) for shape in blendshapes}

    def of(name: str) -> float:
        return min(1.0, max(0.0, amount.get(name, 0.0)))

    smile = (of("mouthSmileLeft") + of("mouthSmileRight")) / 2
    return Expression(of("jawOpen"), smile, min(of("eyeBlinkLeft"), of("eyeBlinkRight")), yaw, pitch)


def turn_of_matrix(matrix: NDArray[np.float32]) -> tuple[float, float]:
    """Yaw and pitch in degrees from the pose of the face: a 4x4 matrix, x to the right, y up, z to the camera."""
    x, y, z = (float(value) for value in matrix[:3, 2])  # where the face's own z axis, its nose, points
    return math.degrees(math.atan2(x, z)), math.degrees(math.atan2(y, math.hypot(x, z)))


def turn_of_mesh(landmarks: Sequence[Any], width: int, height: int) -> tuple[float, float]:
    """Yaw and pitch in degrees, roughly, where only the points of the mesh are known; a picture of this size."""
    right, left = landmarks[_RIGHT_CHEEK], landmarks[_LEFT_CHEEK]
    top, bottom = landmarks[_FOREHEAD], landmarks[_CHIN]
    yaw = math.atan2((left.z - right.z) * width, (left.x - right.x) * width)  # z: in widths, smaller is nearer
    pitch = math.atan2((top.z - bottom.z) * width, (bottom.y - top.y) * height)
    return math.degrees(yaw), math.degrees(pitch)
