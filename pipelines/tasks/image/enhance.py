"""``image-enhance``: less noise, more contrast, sharper edges, larger; by plain image processing, no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from pydantic import Field

from media.frames import Pixels
from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.tasks.batching import deserted
from pipelines.tasks.image.pictures import Fields, OnePicture, each, packed, unpacked
from pipelines.vision.images import LARGEST_SIDE

_TILES = 8
"""A side, for the contrast: each part of the picture gets its own."""
_MOST_CLIP = 4.0
_STRONGEST_NOISE = 12.0
_PATCH, _SEARCH = 5, 15
"""Sides in pixels: of what is compared, and of where it is looked for."""
_STRIP, _REACH = 256, _PATCH // 2 + _SEARCH // 2
"""Rows that are done at a time, and how many beyond them have a say."""
_EDGE = 1.2
"""Standard deviation in pixels of what counts as an edge."""


class EnhanceParameters(Fields):
    """How much of what, 0–1 each. Without any of them a little of each."""

    denoise: float | None = Field(None, ge=0.0, le=1.0)
    """Non-local means (Buades et al., 2011)."""
    contrast: float | None = Field(None, ge=0.0, le=1.0)
    """Contrast-limited adaptive histogram equalisation of the lightness; colours stay."""
    sharpen: float | None = Field(None, ge=0.0, le=1.0)
    """Unsharp mask."""
    upscale: int = Field(1, ge=1, le=4)
    """Times larger, by Lanczos: nothing is made up that was not there."""


def load(folder: Path, device: str, dtype: str) -> None:
    """There is nothing to load."""


def run(model: None, jobs: Sequence[Job[OnePicture, EnhanceParameters]]) -> list[Done | PipelineError]:
    """The enhanced pictures."""
    return each(jobs, lambda job: Done(packed(enhanced(unpacked(job.inputs.image), job.parameters))), "image-enhance")


def enhanced(pixels: Pixels, wishes: EnhanceParameters) -> Pixels:
    """The picture with less noise, then more contrast, larger, and sharper. Raises :class:`TaskError`."""
    rows, columns = pixels.shape[:2]
    if max(rows, columns) * wishes.upscale > LARGEST_SIDE:
        most = f"the result would be larger than {LARGEST_SIDE} pixels"
        raise TaskError("invalid_value", f"parameters.upscale: {most}; the image has {columns}x{rows}")
    given = (wishes.denoise, wishes.contrast, wishes.sharpen)
    plain = all(one is None for one in given) and wishes.upscale == 1
    denoise, contrast, sharpen = (0.3 if plain else one or 0.0 for one in given)
    if denoise:
        pixels = _without_noise(pixels, denoise * _STRONGEST_NOISE)
    if contrast:
        lab = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB), np.uint8)
        equaliser = cv2.createCLAHE(1.0 + contrast * (_MOST_CLIP - 1.0), (_TILES, _TILES))
        lab[..., 0] = equaliser.apply(np.ascontiguousarray(lab[..., 0]))
        pixels = np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)
    if wishes.upscale > 1:
        size = columns * wishes.upscale, rows * wishes.upscale
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LANCZOS4), np.uint8)
    if sharpen:
        soft = cv2.GaussianBlur(pixels, (0, 0), _EDGE * wishes.upscale)
        pixels = np.asarray(cv2.addWeighted(pixels, 1.0 + sharpen, soft, -sharpen, 0.0), np.uint8)
    return pixels


def _without_noise(pixels: Pixels, strength: float) -> Pixels:
    """In strips, for a large picture takes a minute: whoever leaves ends the work. Raises :class:`TaskError`."""
    is_deserted = deserted.get()
    rows, strips = len(pixels), []
    for top in range(0, rows, _STRIP):
        if is_deserted():
            raise TaskError("deserted", "nobody waits for the result any more")
        above, below = min(top, _REACH), min(rows, top + _STRIP + _REACH)
        part = np.ascontiguousarray(pixels[top - above : below])
        clean = cv2.fastNlMeansDenoisingColored(part, None, strength, strength, _PATCH, _SEARCH)
        strips.append(np.asarray(clean, np.uint8)[above : above + _STRIP])
    return np.concatenate(strips)


SPEC: TaskSpec[None, OnePicture, EnhanceParameters] = TaskSpec(
    "image-enhance",
    "Takes noise out of a picture, gives it contrast, sharpens and enlarges it",
    OnePicture,
    EnhanceParameters,
    bytes,
    load,
    run,
    packages=(),
    library="",
    needs_model=False,
    batch=1,
)
