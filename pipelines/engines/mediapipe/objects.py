"""Things: cups, books, cats; whatever the model has a name for."""

from __future__ import annotations

from pathlib import Path

from pipelines.engines.mediapipe.parts import Task, View, VisionOptions, base_options, inside
from pipelines.interfaces.vision import Detection

_PEOPLE = "person"
"""Told by faces, poses and masks, which know more of them."""


def open_objects(model: Path, options: VisionOptions) -> Task:
    """Boxes with names of 80 kinds of everyday things (EfficientDet-Lite), or what another model knows."""
    from mediapipe.tasks.python import vision

    task = vision.ObjectDetector.create_from_options(
        vision.ObjectDetectorOptions(
            base_options=base_options(model, options),
            running_mode=vision.RunningMode.VIDEO,
            max_results=2 * options.max_objects,
            score_threshold=options.min_object_score,
        )
    )

    def look(view: View) -> list[Detection]:
        height, width = view.pixels.shape[:2]
        found = []
        for thing in task.detect_for_video(view.image, view.timestamp).detections:
            box, best = thing.bounding_box, thing.categories[0]
            name = (best.category_name or "thing").lower()
            if name == _PEOPLE:
                continue
            left, top = box.origin_x / width, box.origin_y / height
            edges = inside(left, top, left + box.width / width, top + box.height / height)
            found.append(Detection("object", 0, edges, float(best.score), name))
        return found[: options.max_objects]

    return Task(look, task.close)
