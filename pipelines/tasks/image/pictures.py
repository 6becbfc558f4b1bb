"""Pictures of tasks: files in, RGB arrays between, PNG files out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import cv2
import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict

from media.frames import Pixels
from pipelines.errors import PipelineError, VisionError, foreign_errors
from pipelines.interfaces.media_fields import FileBytes
from pipelines.interfaces.task import Done, Job, TaskError
from pipelines.vision.images import LARGEST_FILE, check_still, still

T = TypeVar("T")


class Fields(BaseModel):
    """Fields of a task; others are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64")


def _is_picture(data: bytes) -> bytes:
    """Before anything is unpacked: kind, bytes and size. Pydantic names the field."""
    if not data:
        raise ValueError("is empty")
    try:
        check_still(data, "it")
    except VisionError as error:
        raise ValueError(error.message) from None
    return data


PictureBytes = Annotated[FileBytes, AfterValidator(_is_picture)]
"""A JPEG or PNG, of the size that :mod:`pipelines.vision.images` takes."""


class OnePicture(Fields):
    """The input of most tasks."""

    image: PictureBytes


class Box(Fields):
    """A rectangle, in pixels of the picture."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int


def box_around(points: Sequence[Sequence[float]], width: int, height: int) -> Box:
    """The smallest upright rectangle around ``points`` within the picture."""
    xs, ys = zip(*points, strict=True)
    return Box(
        xmin=max(0, int(np.floor(min(xs)))),
        ymin=max(0, int(np.floor(min(ys)))),
        xmax=min(width, int(np.ceil(max(xs)))),
        ymax=min(height, int(np.ceil(max(ys)))),
    )


def unpacked(data: bytes, field: str = "image") -> Pixels:
    """RGB, shape ``(height, width, 3)``. Raises :class:`TaskError` (``invalid_value``) naming the field."""
    try:
        return still(data, field)
    except VisionError as error:
        raise TaskError("invalid_value", f"{field}: {error.message.removeprefix(field + ' ')}") from error


def packed(pixels: Pixels) -> bytes:
    """The RGB picture as PNG, or as JPEG where other tasks would not take so large a file."""
    done, data = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR))
    assert done, "OpenCV can encode any RGB picture"
    if data.nbytes <= LARGEST_FILE:
        return data.tobytes()
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92]
    )
    assert done, "OpenCV can encode any RGB picture"
    return data.tobytes()


def as_pil(data: bytes, field: str = "image") -> Any:
    """The picture as Pillow has it, for processors of transformers: they are given no names that they might fetch."""
    from PIL import Image

    return Image.fromarray(unpacked(data, field))


def each(jobs: Sequence[Job[Any, Any]], do: Callable[[Job[Any, Any]], Done], engine: str) -> list[Done | PipelineError]:
    """``do`` with one item after another; a bad one gets its error and does not spoil the others."""
    results: list[Done | PipelineError] = []
    for job in jobs:
        try:
            with foreign_errors(TaskError, "task_failed", engine):
                results.append(do(job))
        except PipelineError as error:
            results.append(error)
    return results
