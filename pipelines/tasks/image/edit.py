"""``image-edit``: what needs no model: cutting out, turning, mirroring, resizing, and filling in what a mask marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pydantic import Field, model_validator

from media.frames import Pixels
from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.tasks.image.pictures import Fields, PictureBytes, each, packed, unpacked
from pipelines.vision.images import LARGEST_SIDE

_MOST_INPAINTED = 50_000_000
"""Marked pixels times the square of the radius: what filling in takes grows with it, and nothing ends it half-way. This
is a quarter of a minute on a slow core."""


class Crop(Fields):
    """A part of the picture, in pixels."""

    left: int = Field(ge=0, lt=LARGEST_SIDE)
    top: int = Field(ge=0, lt=LARGEST_SIDE)
    width: int = Field(ge=1, le=LARGEST_SIDE)
    height: int = Field(ge=1, le=LARGEST_SIDE)


class EditInput(Fields):
    """The picture, and where it has to be filled in."""

    image: PictureBytes
    mask: PictureBytes | None = None
    """Of the same size: what is light in it is filled in from what is around it."""


class EditParameters(Fields):
    """What is done, in this order: fill in by the mask, cut out, mirror, turn, resize."""

    crop: Crop | None = None
    flip: Literal["horizontal", "vertical"] | None = None
    rotate: float = Field(0.0, ge=-360.0, le=360.0)
    """Degrees clockwise; the picture grows so that nothing is lost, and corners are black."""
    width: int | None = Field(None, ge=1, le=LARGEST_SIDE)
    height: int | None = Field(None, ge=1, le=LARGEST_SIDE)
    """Pixels of the result; with one of them the other follows."""
    inpaint_radius: float = Field(5.0, ge=1.0, le=50.0)
    """Pixels around what the mask marks that it is filled in from."""
    prompt: str | None = Field(None, max_length=4_000)
    """What a model is to do with it: refused here (``unsupported_value``), for no model does that."""

    @model_validator(mode="after")
    def _can_be_done(self) -> EditParameters:
        if self.prompt:
            raise ValueError(
                "prompt: editing by words needs a diffusion model, which this task has none of; "
                "what it does are crop, flip, rotate, width, height, and filling in by a mask"
            )
        return self


def load(folder: Path, device: str, dtype: str) -> None:
    """There is nothing to load."""


def run(model: None, jobs: Sequence[Job[EditInput, EditParameters]]) -> list[Done | PipelineError]:
    """The edited pictures."""
    return each(jobs, lambda job: Done(packed(edited(job.inputs, job.parameters))), "image-edit")


def edited(inputs: EditInput, wishes: EditParameters) -> Pixels:
    """The picture after all that is wished for. Raises :class:`TaskError` (``invalid_value``) naming the field."""
    pixels = unpacked(inputs.image)
    if inputs.mask is not None:
        pixels = _filled_in(pixels, unpacked(inputs.mask, "mask"), wishes.inpaint_radius)
    if wishes.crop is not None:
        pixels = _cut_out(pixels, wishes.crop)
    if wishes.flip is not None:
        pixels = pixels[:, ::-1] if wishes.flip == "horizontal" else pixels[::-1]
    if wishes.rotate % 360:
        pixels = _turned(np.ascontiguousarray(pixels), wishes.rotate)
    return resized(pixels, wishes.width, wishes.height)


def _filled_in(pixels: Pixels, mask: Pixels, radius: float) -> Pixels:
    if mask.shape != pixels.shape:
        sizes = ["x".join(map(str, one.shape[1::-1])) for one in (mask, pixels)]
        raise TaskError(
            "invalid_value", f"mask: has {sizes[0]} pixels, and the image {sizes[1]}: both must be the same"
        )
    marked = (mask.max(axis=2) > 127).astype(np.uint8)
    if marked.all():
        raise TaskError("invalid_value", "mask: marks all of the image: nothing is left to fill it in from")
    if not marked.any():
        return pixels
    if int(marked.sum()) * radius**2 > _MOST_INPAINTED:
        most = max(1, int((_MOST_INPAINTED / int(marked.sum())) ** 0.5))
        message = f"is {radius:g}, which takes too long for as much as the mask marks: at most {most} is taken for that"
        raise TaskError("invalid_value", f"parameters.inpaint_radius: {message}")
    return np.asarray(cv2.inpaint(pixels, marked, radius, cv2.INPAINT_TELEA), np.uint8)


def _cut_out(pixels: Pixels, crop: Crop) -> Pixels:
    height, width = pixels.shape[:2]
    if crop.left + crop.width > width or crop.top + crop.height > height:
        raise TaskError(
            "invalid_value", f"parameters.crop: reaches beyond the image, which has {width}x{height} pixels"
        )
    return pixels[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]


def _turned(pixels: Pixels, degrees: float) -> Pixels:
    quarters, rest = divmod(degrees % 360, 90)
    if not rest:
        return np.ascontiguousarray(np.rot90(pixels, -int(quarters)))
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = round(width * cosine + height * sine), round(width * sine + height * cosine)
    if max(size) > LARGEST_SIDE:
        raise TaskError("invalid_value", f"parameters.rotate: the result would be larger than {LARGEST_SIDE} pixels")
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return np.asarray(cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_CUBIC), np.uint8)


def resized(pixels: Pixels, width: int | None, height: int | None) -> Pixels:
    """The picture at this size; with one side only, in its own proportions."""
    if width is None and height is None:
        return pixels
    rows, columns = pixels.shape[:2]
    size = (
        width if width is not None else max(1, round(columns * (height or rows) / rows)),
        height if height is not None else max(1, round(rows * (width or columns) / columns)),
    )
    if max(size) > LARGEST_SIDE:
        raise TaskError("invalid_value", f"parameters.width: the result would be larger than {LARGEST_SIDE} pixels")
    smaller = size[0] * size[1] < rows * columns
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), size, interpolation=how), np.uint8)


SPEC: TaskSpec[None, EditInput, EditParameters] = TaskSpec(
    "image-edit",
    "Cuts out, turns, mirrors and resizes a picture, and fills in what a mask marks",
    EditInput,
    EditParameters,
    bytes,
    load,
    run,
    packages=(),
    library="",
    needs_model=False,
    batch=1,
)
