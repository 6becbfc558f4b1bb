"""``image-background``: what is behind the people in a picture is blurred, of one colour, or another picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from media.frames import Pixels
from pipelines.engines.mediapipe.bodies import person
from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.image.pictures import Fields, OnePicture, PictureBytes, each, packed, unpacked
from pipelines.vision.background import Backdrop
from pipelines.vision.settings import Background


class BackgroundParameters(Fields):
    """What comes behind the people."""

    kind: Literal["blur", "colour", "image"] = "blur"
    colour: tuple[int, int, int] = Field((0, 0, 0))
    """Red, green, blue, 0–255."""
    image: PictureBytes | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> BackgroundParameters:
        if self.kind == "image" and self.image is None:
            raise ValueError("image: is missing, and kind is image")
        if self.image is not None and self.kind != "image":
            raise ValueError(f"image: needs kind image, not {self.kind}")
        if any(not 0 <= value <= 255 for value in self.colour):
            raise ValueError("colour: three numbers 0–255: red, green, blue")
        return self


@dataclass(frozen=True, slots=True)
class Segmenter:
    """MediaPipe's, for single pictures."""

    task: Any

    def close(self) -> None:
        """Free it."""
        self.task.close()

    def mask(self, pixels: Pixels) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """255 where somebody is, 0 background."""
        import mediapipe

        image = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(pixels))
        marks = self.task.segment(image).confidence_masks[0].numpy_view()
        return np.asarray(marks.reshape(pixels.shape[:2]) * 255, np.uint8)


def load(folder: Path, device: str, dtype: str) -> Segmenter:
    """The segmenter in ``folder``. Raises :class:`ModelError` (``model_broken``)."""
    from mediapipe.tasks.python import BaseOptions, vision

    file = next(iter(sorted(folder.glob("*.tflite"))), None)
    if file is None:
        raise ModelError("model_broken", f"{folder.name} holds no *.tflite")
    options = vision.ImageSegmenterOptions(
        base_options=BaseOptions(model_asset_path=str(file)), output_confidence_masks=True, output_category_mask=False
    )
    try:
        return Segmenter(vision.ImageSegmenter.create_from_options(options))
    except Exception as error:  # MediaPipe's have no common base
        raise ModelError("model_broken", f"{file.name} cannot be loaded: {type(error).__name__}") from error


def run(model: Segmenter, jobs: Sequence[Job[OnePicture, BackgroundParameters]]) -> list[Done | PipelineError]:
    """The pictures with another background."""

    def replaced(job: Job[OnePicture, BackgroundParameters]) -> Done:
        pixels, wishes = unpacked(job.inputs.image), job.parameters
        backdrop = Backdrop(Background(wishes.kind, wishes.colour, wishes.image or b""))
        return Done(packed(backdrop.paint(pixels, person(model.mask(pixels)))))

    return each(jobs, replaced, "image-background")


SPEC: TaskSpec[Segmenter, OnePicture, BackgroundParameters] = TaskSpec(
    "image-background",
    "Blurs or replaces what is behind the people in a picture",
    OnePicture,
    BackgroundParameters,
    bytes,
    load,
    run,
    packages=("mediapipe",),
    library="",
    catalogue_task="person-segmentation",
    batch=1,
)
