"""``text-to-video``: pictures, one after another, of what is described, by a pipeline of diffusers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from media.frames import Pixels
from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, ModelFolder, TaskError, TaskSpec
from pipelines.tasks.image.generation.diffusion import (
    generator,
    is_pipeline,
    kind_of,
    opened_pipeline,
    stops_when_deserted,
    takes,
)
from pipelines.tasks.image.pictures import Fields, PictureBytes, as_pil, each, packed

LONGEST_PROMPT = 4_000
"""Characters of what is to be filmed."""


class FilmingInput(Fields):
    """What is to be seen."""

    inputs: str = Field(min_length=1, max_length=LONGEST_PROMPT)
    image: PictureBytes | None = None
    """The first picture, for models that begin with one."""


class FilmingParameters(Fields):
    """How it is filmed; what is not given is as the model likes best."""

    num_frames: int | None = Field(None, ge=1, le=256)
    width: int | None = Field(None, ge=32, le=1280, multiple_of=8)
    height: int | None = Field(None, ge=32, le=1280, multiple_of=8)
    fps: float = Field(8.0, gt=0.0, le=60.0)
    """Pictures per second: what is told to models that ask, and with the result."""
    num_inference_steps: int | None = Field(None, ge=1, le=200)
    guidance_scale: float | None = Field(None, ge=0.0, le=50.0)
    negative_prompt: str | None = Field(None, max_length=LONGEST_PROMPT)
    seed: int | None = Field(None, ge=0, le=2**32 - 1)


class FilmingOutput(Fields):
    """The video, picture by picture."""

    frames: tuple[bytes, ...]
    """PNG files."""
    fps: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Filmer:
    """A pipeline of diffusers."""

    pipeline: Any

    def film(self, inputs: FilmingInput, wishes: FilmingParameters) -> list[Pixels]:
        """The pictures, RGB. Raises :class:`TaskError` (``unsupported_value``) for wishes that it cannot fulfil."""
        given = wishes.model_dump(exclude={"seed", "fps"})
        if inputs.image is not None:
            given["image"] = as_pil(inputs.image)
        try:
            wanted = takes(self.pipeline, given)
        except ValueError as error:
            name = "image" if str(error) == "image" else f"parameters.{error}"
            raise TaskError("unsupported_value", f"{name}: this model takes none") from None
        wanted |= stops_when_deserted(self.pipeline)
        with suppress(ValueError):  # of one that does not ask
            wanted |= takes(self.pipeline, {"frame_rate": wishes.fps})
        told = self.pipeline(prompt=inputs.inputs, generator=generator(wishes.seed), output_type="np", **wanted)
        return [np.clip(np.asarray(one) * 255 + 0.5, 0, 255).astype(np.uint8) for one in told.frames[0]]


def load(folder: Path, device: str, dtype: str) -> Filmer:
    """Raises :class:`ModelError` (``model_broken``, ``model_not_here``)."""
    if not kind_of(folder):
        raise ModelError("model_broken", f"{folder.name} holds no pipeline of diffusers")
    return Filmer(opened_pipeline(folder, device, dtype))


def run(model: Filmer, jobs: Sequence[Job[FilmingInput, FilmingParameters]]) -> list[Done | PipelineError]:
    """The videos."""

    def filmed(job: Job[FilmingInput, FilmingParameters]) -> Done:
        pictures = model.film(job.inputs, job.parameters)
        height, width = pictures[0].shape[:2]
        frames = tuple(packed(picture) for picture in pictures)
        return Done(FilmingOutput(frames=frames, fps=job.parameters.fps, width=width, height=height).model_dump())

    return each(jobs, filmed, "text-to-video")


def fits(folder: ModelFolder) -> bool:
    """Whether a folder holds a pipeline that makes videos."""
    return is_pipeline(folder, video=True)


SPEC: TaskSpec[Filmer, FilmingInput, FilmingParameters] = TaskSpec(
    "text-to-video",
    "Makes a short video of what is described",
    FilmingInput,
    FilmingParameters,
    FilmingOutput,
    load,
    run,
    packages=("diffusers", "torch"),
    fits=fits,
    batch=1,
)
