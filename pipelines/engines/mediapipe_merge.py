"""What several detectors find of the same things → one detection each. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipelines.engines.mediapipe_faces import SAME_FACE
from pipelines.ports import Detection
from pipelines.vision.geometry import overlap
from pipelines.vision.settings import DetectorName

_BRINGS: dict[DetectorName, tuple[DetectorName, ...]] = {"gestures": ("hands",), "holistic": ("hands", "pose")}
"""Detectors whose results include those of others."""
_KIND_ORDER = ("face", "hand", "pose", "person", "object")


def without_replaced(names: Sequence[DetectorName]) -> list[DetectorName]:
    """``names`` without those whose results another of them brings along."""
    replaced = {other for name in names for other in _BRINGS.get(name, ())}
    return [name for name in names if name not in replaced]


def merge(found: Mapping[DetectorName, Sequence[Detection]]) -> tuple[Detection, ...]:
    """The findings of each detector → all detections, kind by kind, with ids from left to right.

    A hand is told by the recogniser of gestures rather than by the holistic landmarker. Where the face landmarker
    works, a face is what it accepts, with the score that the face detector gives it: the latter alone also finds faces
    in clocks and toys.
    """
    whole = found.get("holistic", ())
    kept = [seen for seen in whole if seen.kind == "pose" or (seen.kind == "hand" and "gestures" not in found)]
    faces = list(found["face_landmarks"] if "face_landmarks" in found else _of_kind(whole, "face"))
    boxes = found.get("faces", ())
    scored = [replace(face, score=max([face.score, *_scores(face, boxes)])) for face in faces]
    if "face_landmarks" not in found:
        scored += [box for box in boxes if all(overlap(box.box, face.box) < SAME_FACE for face in faces)]
    rest = [
        seen for name, detections in found.items() if name not in ("holistic", "face_landmarks", "faces")
        for seen in detections
    ]  # fmt: skip
    everything = [*scored, *kept, *rest]
    return tuple(seen for kind in _KIND_ORDER for seen in _numbered(_of_kind(everything, kind)))


def _scores(face: Detection, boxes: Sequence[Detection]) -> list[float]:
    return [box.score for box in boxes if overlap(box.box, face.box) >= SAME_FACE]


def _of_kind(detections: Sequence[Detection], kind: str) -> list[Detection]:
    return [seen for seen in detections if seen.kind == kind]


def _numbered(detections: Sequence[Detection]) -> list[Detection]:
    ordered = sorted(detections, key=lambda seen: seen.box[0] + seen.box[2] / 2)
    return [replace(seen, id=number) for number, seen in enumerate(ordered)]
