"""Things: cups, books, cats; whatever the model has a name for."""

from __future__ import annotations

from pathlib import Path

from pipelines.engines.mediapipe.parts import Task, View, VisionOptions, box_in, inside, open_task
from pipelines.engines.yolox import Yolox
from pipelines.errors import ModelError
from pipelines.interfaces.vision import Detection


def open_objects(model: Path, options: VisionOptions) -> Task:
    """Boxes with names of 80 kinds of everyday things: YOLOX on ONNX Runtime, or by MediaPipe EfficientDet-Lite or what
    another model knows.

    Those of less than ``min_object_score`` are given, too: they may be what was seen for certain a moment ago
    (:mod:`pipelines.vision.tracking`). So are people: :func:`~pipelines.engines.mediapipe.tasks.merge` leaves them out
    where other detectors know more of them.
    """
    return _open_yolox(model, options) if model.suffix == ".onnx" else _open_mediapipe(model, options)


def _open_yolox(model: Path, options: VisionOptions) -> Task:
    try:
        network = Yolox(model)
    except ModelError as error:
        raise ValueError(error.message) from error

    def detect(view: View) -> list[Detection]:
        found = network.find(view.pixels, options.faint_object_score, options.max_objects)
        return [
            Detection("object", 0, inside(one.left, one.top, one.right, one.bottom), one.score, one.label)
            for one in found
        ]

    return Task(detect, network.close)


def _open_mediapipe(model: Path, options: VisionOptions) -> Task:
    least, most = options.faint_object_score, options.max_objects
    task = open_task("ObjectDetector", model, options, max_results=most, score_threshold=least)

    def detect(view: View) -> list[Detection]:
        found = []
        for thing in task.detect_for_video(view.image, view.timestamp).detections:
            best = thing.categories[0]
            name = (best.category_name or "thing").lower()
            found.append(Detection("object", 0, box_in(view, thing.bounding_box), float(best.score), name))
        return found

    return Task(detect, task.close)
