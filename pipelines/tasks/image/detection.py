"""``object-detection``: things with their names and places, by YOLOX, MediaPipe's detector or one of transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from media.frames import Pixels
from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.image.pictures import Box, Fields, OnePicture, box_around, each, unpacked

_MOST = 100
"""Things of one picture that are told."""


class DetectionParameters(Fields):
    """Which are told."""

    threshold: float = Field(0.5, ge=0.0, le=1.0)
    """Those of a lower score are left out."""


class Detected(Fields):
    """One thing."""

    label: str
    score: float
    box: Box


Detector = Callable[[Pixels, float], list[Detected]]
"""(RGB, least score) → what is there, the surest first."""


def load(folder: Path, device: str, dtype: str) -> Detector:
    """The detector in ``folder``. Raises :class:`ModelError` (``model_broken``)."""
    if (network := next(iter(sorted(folder.glob("yolox*.onnx"))), None)) is not None:
        return _by_yolox(network)
    file = next(iter(sorted(folder.glob("*.tflite"))), None)
    return _by_transformers(folder, device) if file is None else _by_mediapipe(file)


def _by_yolox(file: Path) -> Detector:
    from pipelines.engines.yolox import Yolox

    network = Yolox(file)

    def detect(pixels: Pixels, least: float) -> list[Detected]:
        height, width = pixels.shape[:2]
        found = []
        for one in network.find(pixels, least, _MOST):
            corners = ((one.left * width, one.top * height), (one.right * width, one.bottom * height))
            found.append(Detected(label=one.label, score=round(one.score, 4), box=box_around(corners, width, height)))
        return found

    return detect


def _by_mediapipe(file: Path) -> Detector:
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ObjectDetectorOptions(base_options=BaseOptions(model_asset_path=str(file)), max_results=_MOST)
    try:
        task = vision.ObjectDetector.create_from_options(options)
    except Exception as error:  # MediaPipe's have no common base
        raise ModelError("model_broken", f"{file.name} cannot be loaded: {type(error).__name__}") from error

    def detect(pixels: Pixels, least: float) -> list[Detected]:
        height, width = pixels.shape[:2]
        found = []
        image = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(pixels))
        for thing in task.detect(image).detections:
            best, box = thing.categories[0], thing.bounding_box
            corners = ((box.origin_x, box.origin_y), (box.origin_x + box.width, box.origin_y + box.height))
            if best.score >= least:
                place = box_around(corners, width, height)
                found.append(Detected(label=best.category_name or "thing", score=float(best.score), box=place))
        return found

    return detect


def _by_transformers(folder: Path, device: str) -> Detector:
    import torch

    from pipelines.tasks.image.transformers_models import image_processor, opened

    model = opened("AutoModelForObjectDetection", folder, device)
    processor = image_processor(folder)
    names = model.config.id2label

    def detect(pixels: Pixels, least: float) -> list[Detected]:
        from PIL import Image

        height, width = pixels.shape[:2]
        seen = processor(images=Image.fromarray(pixels), return_tensors="pt").to(model.device)
        with torch.inference_mode():
            outputs = model(**seen)
        (told,) = processor.post_process_object_detection(outputs, least, [(height, width)])
        found = [
            Detected(
                label=str(names[int(label)]),
                score=round(float(score), 4),
                box=box_around((box[:2], box[2:]), width, height),
            )
            for score, label, box in zip(
                told["scores"].tolist(), told["labels"].tolist(), told["boxes"].tolist(), strict=True
            )
        ]
        return sorted(found, key=lambda one: -one.score)[:_MOST]

    return detect


def run(model: Detector, jobs: Sequence[Job[OnePicture, DetectionParameters]]) -> list[Done | PipelineError]:
    """What is in each picture."""

    def detected(job: Job[OnePicture, DetectionParameters]) -> Done:
        found = model(unpacked(job.inputs.image), job.parameters.threshold)
        return Done([one.model_dump() for one in found])

    return each(jobs, detected, "object-detection")


SPEC: TaskSpec[Any, OnePicture, DetectionParameters] = TaskSpec(
    "object-detection",
    "Names the things in a picture and tells where they are",
    OnePicture,
    DetectionParameters,
    list[Detected],
    load,
    run,
    packages=(),
    batch=1,
)
