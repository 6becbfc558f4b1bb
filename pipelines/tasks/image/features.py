"""``image-feature-extraction``: a picture, or a sentence in the same space, as a vector, by CLIP or SigLIP."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.image.pictures import Fields, PictureBytes, each
from pipelines.tasks.image.zero_shot import Pairing, load


class FeatureInput(Fields):
    """One of both."""

    image: PictureBytes | None = None
    text: str | None = Field(None, min_length=1, max_length=2_000)

    @model_validator(mode="after")
    def _is_one(self) -> FeatureInput:
        if (self.image is None) == (self.text is None):
            raise ValueError("image: give either image or text")
        return self


class FeatureParameters(Fields):
    """How the vector is given."""

    normalize: bool = True
    """Whether it has the length 1."""


def run(model: Pairing, jobs: Sequence[Job[FeatureInput, FeatureParameters]]) -> list[Done | PipelineError]:
    """The vectors."""
    import torch

    def embedded(job: Job[FeatureInput, FeatureParameters]) -> Done:
        with torch.inference_mode():
            if job.inputs.image is not None:
                told = model.model.get_image_features(pixel_values=model.picture(job.inputs.image))
            else:
                told = model.model.get_text_features(**model.sentences([job.inputs.text or ""]))
            vector = told.pooler_output[0].float()
            if job.parameters.normalize:
                vector = torch.nn.functional.normalize(vector, dim=-1)
        return Done([round(value, 7) for value in vector.tolist()])

    return each(jobs, embedded, "image-feature-extraction")


SPEC: TaskSpec[Pairing, FeatureInput, FeatureParameters] = TaskSpec(
    "image-feature-extraction",
    "A picture, or a sentence in the same space, as a vector",
    FeatureInput,
    FeatureParameters,
    list[float],
    load,
    run,
    cached=lambda job: True,
    batch=1,
)
