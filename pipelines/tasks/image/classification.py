"""``image-classification``: which of the classes that a model was trained on a picture belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.image.pictures import Fields, OnePicture, as_pil, each
from pipelines.tasks.image.transformers_models import image_processor, opened


class ClassificationParameters(Fields):
    """What is told."""

    top_k: int = Field(5, ge=1, le=1000)
    """So many classes, the likeliest first."""
    function_to_apply: Literal["softmax", "sigmoid", "none"] | None = None
    """How scores are made: shares that add up to 1, each for itself, or as the model gives them. Without it as the
    model's configuration says, else ``softmax``."""


class LabelScore(Fields):
    """A class and how sure the model is of it."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Classifier:
    """A model and what prepares its pictures."""

    model: Any
    processor: Any


def load(folder: Path, device: str, dtype: str) -> Classifier:
    """Raises :class:`ModelError` (``model_broken``, ``model_needs_remote_code``)."""
    model = opened("AutoModelForImageClassification", folder, device, dtype)
    if not model.config.id2label:
        raise ModelError("model_broken", f"{folder.name} names no classes (id2label)")
    return Classifier(model, image_processor(folder))


def run(model: Classifier, jobs: Sequence[Job[OnePicture, ClassificationParameters]]) -> list[Done | PipelineError]:
    """The classes of each picture."""
    import torch

    names = model.model.config.id2label
    usual = {"multi_label_classification": "sigmoid", "regression": "none"}

    def classified(job: Job[OnePicture, ClassificationParameters]) -> Done:
        seen = model.processor(images=as_pil(job.inputs.image), return_tensors="pt")
        with torch.inference_mode():
            logits = model.model(pixel_values=seen["pixel_values"].to(model.model.device, model.model.dtype)).logits[0]
        how = job.parameters.function_to_apply or usual.get(str(model.model.config.problem_type), "softmax")
        scores = {"softmax": lambda: logits.softmax(-1), "sigmoid": logits.sigmoid, "none": lambda: logits}[how]()
        best = scores.float().topk(min(job.parameters.top_k, len(scores)))
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return Done([LabelScore(label=str(names[n]), score=round(score, 6)).model_dump() for score, n in pairs])

    return each(jobs, classified, "image-classification")


SPEC: TaskSpec[Classifier, OnePicture, ClassificationParameters] = TaskSpec(
    "image-classification",
    "Tells which of a model's classes a picture belongs to",
    OnePicture,
    ClassificationParameters,
    list[LabelScore],
    load,
    run,
    cached=lambda job: True,
    batch=1,
)
