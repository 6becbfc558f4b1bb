"""Things: cups, books, cats; whatever the model has a name for."""

from __future__ import annotations

from pathlib import Path

from pipelines.engines.mediapipe.parts import Task, View, VisionOptions, box_in, open_task
from pipelines.interfaces.vision import Detection

_PEOPLE = "person"
"""Told by faces, poses and masks, which know more of them."""


def open_objects(model: Path, options: VisionOptions) -> Task:
    """Boxes with names of 80 kinds of everyday things (EfficientDet-Lite), or what another model knows."""
    most, least = options.max_objects, options.min_object_score
    task = open_task("ObjectDetector", model, options, max_results=2 * most, score_threshold=least)

    def detect(view: View) -> list[Detection]:
        found = []
        for thing in task.detect_for_video(view.image, view.timestamp).detections:
            best = thing.categories[0]
            name = (best.category_name or "thing").lower()
            if name != _PEOPLE:
                found.append(Detection("object", 0, box_in(view, thing.bounding_box), float(best.score), name))
        return found[:most]

    return Task(detect, task.close)
