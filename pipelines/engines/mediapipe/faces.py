"""Faces: boxes by BlazeFace, or 478 points with what the face expresses by the face landmarker."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.mediapipe.mesh_expression import expression_of_mesh
from pipelines.engines.mediapipe.parts import (
    Task,
    View,
    VisionOptions,
    around,
    box_in,
    members_of,
    open_task,
    points_of,
)
from pipelines.interfaces.vision import Detection, Expression, overlap

SAME_FACE = 0.3
"""Intersection over union: a mesh is wider than BlazeFace's box, which ends above the brows."""
_EXPRESSIONS = "face_blendshapes.tflite"
"""Member of the published bundle."""
_ACCEPTED = 0.5
"""The least chance of a face that the face landmarker lets pass; it does not tell the chance itself."""


def open_faces(model: Path, options: VisionOptions) -> Task:
    """Boxes, scores and six key points of faces.

    ``model`` is one BlazeFace, or a bundle of those for faces near (up to two metres) and far (up to five): then a face
    is what either finds, with the box of the near one and the higher score.
    """
    names = members_of(model)
    if not names:
        return _open_face_detector(model, options)
    with zipfile.ZipFile(model) as bundle:
        detectors = [_open_face_detector(bundle.read(name), options) for name in names]

    def detect(view: View) -> list[Detection]:
        return same_faces([detector.detect(view) for detector in detectors])

    def close() -> None:
        with ExitStack() as each:
            for detector in detectors:
                each.callback(detector.close)

    return Task(detect, close)


def same_faces(found: Sequence[Sequence[Detection]]) -> list[Detection]:
    """What several detectors find → each face once, as the first of them sees it, with the highest score."""
    faces: list[Detection] = []
    for detections in found:
        for face in detections:
            place = next((n for n, known in enumerate(faces) if overlap(known.box, face.box) >= SAME_FACE), None)
            if place is None:
                faces.append(face)
            elif face.score > faces[place].score:
                faces[place] = replace(faces[place], score=face.score)
    return faces


def _open_face_detector(model: Path | bytes, options: VisionOptions) -> Task:
    task = open_task("FaceDetector", model, options, min_detection_confidence=options.min_face_score)

    def detect(view: View) -> list[Detection]:
        found = []
        for face in task.detect_for_video(view.image, view.timestamp).detections:
            box, score = box_in(view, face.bounding_box), float(face.categories[0].score)
            found.append(Detection("face", 0, box, score, "", points_of(face.keypoints)))
        return found

    return Task(detect, task.close)


def open_face_landmarks(model: Path, options: VisionOptions) -> Task:
    """The mesh and the expression of faces; their score is only what the model lets pass.

    A bundle with a network of expressions (blendshapes) is asked for them; of others the mesh itself tells them.
    """
    expressive = _EXPRESSIONS in members_of(model)
    task = open_task(
        "FaceLandmarker",
        model,
        options,
        num_faces=options.max_faces,
        min_face_presence_confidence=_ACCEPTED,
        output_face_blendshapes=expressive,
        output_facial_transformation_matrixes=expressive,
    )

    def detect(view: View) -> list[Detection]:
        result = task.detect_for_video(view.image, view.timestamp)
        height, width = view.pixels.shape[:2]
        if not expressive:
            return [
                mesh_face(marks, expression_of_mesh(in_space(marks, width, height))) for marks in result.face_landmarks
            ]
        faces = zip(result.face_landmarks, result.face_blendshapes, result.facial_transformation_matrixes, strict=True)
        return [mesh_face(marks, express(shapes, *turn_of_matrix(matrix))) for marks, shapes, matrix in faces]

    return Task(detect, task.close)


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


def in_space(landmarks: Sequence[Any], width: int, height: int) -> NDArray[np.float64]:
    """MediaPipe's landmarks of a picture of this size → pixels, shape ``(n, 3)``; z grows away from the camera."""
    return np.array([(mark.x * width, mark.y * height, mark.z * width) for mark in landmarks], np.float64)
