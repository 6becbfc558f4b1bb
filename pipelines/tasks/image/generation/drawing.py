"""``text-to-image``: a picture of what is described, by a pipeline of diffusers or by Janus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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
from pipelines.tasks.image.janus import Janus, load_janus
from pipelines.tasks.image.pictures import Fields, each, packed
from pipelines.tasks.image.transformers_models import config_of

LONGEST_PROMPT = 4_000
"""Characters of what is to be drawn."""
_GUIDANCE = 5.0
"""Of Janus, as its authors use it."""


class DrawingInput(Fields):
    """What is to be seen."""

    inputs: str = Field(min_length=1, max_length=LONGEST_PROMPT)


class DrawingParameters(Fields):
    """How it is drawn; what is not given is as the model likes best."""

    width: int | None = Field(None, ge=64, le=2048, multiple_of=8)
    height: int | None = Field(None, ge=64, le=2048, multiple_of=8)
    num_inference_steps: int | None = Field(None, ge=1, le=200)
    guidance_scale: float | None = Field(None, ge=0.0, le=50.0)
    negative_prompt: str | None = Field(None, max_length=LONGEST_PROMPT)
    seed: int | None = Field(None, ge=0, le=2**32 - 1)


class Drawer(Protocol):
    """A model that draws."""

    def draw(self, prompt: str, wishes: DrawingParameters) -> Pixels:
        """The picture, RGB. Raises :class:`TaskError` (``unsupported_value``) for wishes that it cannot fulfil."""
        ...


@dataclass(frozen=True, slots=True)
class JanusDrawer:
    """Janus, whose pictures have one size."""

    model: Janus

    def draw(self, prompt: str, wishes: DrawingParameters) -> Pixels:
        """See :class:`Drawer`."""
        for name in ("width", "height", "num_inference_steps", "negative_prompt"):
            if getattr(wishes, name) is not None:
                raise TaskError("unsupported_value", f"parameters.{name}: Janus takes none")
        guidance = _GUIDANCE if wishes.guidance_scale is None else wishes.guidance_scale
        return self.model.draw(prompt, guidance, wishes.seed)


@dataclass(frozen=True, slots=True)
class DiffusionDrawer:
    """A pipeline of diffusers."""

    pipeline: Any

    def draw(self, prompt: str, wishes: DrawingParameters) -> Pixels:
        """See :class:`Drawer`."""
        given = wishes.model_dump(exclude={"seed"})
        try:
            wanted = takes(self.pipeline, given)
        except ValueError as error:
            raise TaskError("unsupported_value", f"parameters.{error}: this model takes none") from None
        wanted |= stops_when_deserted(self.pipeline)
        told = self.pipeline(prompt=prompt, generator=generator(wishes.seed), output_type="np", **wanted)
        return np.clip(np.asarray(told.images[0]) * 255 + 0.5, 0, 255).astype(np.uint8)


def load(folder: Path, device: str, dtype: str) -> Drawer:
    """Raises :class:`ModelError` (``model_broken``, ``model_not_here``, ``model_needs_remote_code``)."""
    if kind_of(folder):
        return DiffusionDrawer(opened_pipeline(folder, device, dtype))
    if config_of(folder).get("model_type") == "janus":
        return JanusDrawer(load_janus(folder, device, dtype))
    raise ModelError("model_broken", f"{folder.name} holds neither a pipeline of diffusers nor a Janus")


def run(model: Drawer, jobs: Sequence[Job[DrawingInput, DrawingParameters]]) -> list[Done | PipelineError]:
    """The pictures."""
    return each(jobs, lambda job: Done(packed(model.draw(job.inputs.inputs, job.parameters))), "text-to-image")


def fits(folder: ModelFolder) -> bool:
    """Whether a folder holds a model that draws."""
    return is_pipeline(folder, video=False) or folder.config.get("model_type") == "janus"


SPEC: TaskSpec[Drawer, DrawingInput, DrawingParameters] = TaskSpec(
    "text-to-image",
    "Draws a picture of what is described",
    DrawingInput,
    DrawingParameters,
    bytes,
    load,
    run,
    fits=fits,
    batch=1,
)
