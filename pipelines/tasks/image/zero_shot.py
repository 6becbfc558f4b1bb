"""``zero-shot-image-classification``: which of some descriptions fits a picture best, by CLIP or SigLIP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.image.classification import LabelScore
from pipelines.tasks.image.pictures import Fields, OnePicture, as_pil, each
from pipelines.tasks.image.transformers_models import image_processor, opened, tokenizer

MOST_LABELS = 100
"""Labels in one request."""
_Label = Annotated[str, Field(min_length=1, max_length=200)]


class ZeroShotParameters(Fields):
    """What may be there."""

    candidate_labels: tuple[_Label, ...] = Field(min_length=1, max_length=MOST_LABELS)
    hypothesis_template: str = Field("This is a photo of {}.", min_length=2, max_length=200)
    """The sentence that a label is put into, in place of ``{}``."""

    @field_validator("hypothesis_template")
    @classmethod
    def _has_a_place(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError("must hold {} once, where the label goes")
        return value


@dataclass(frozen=True, slots=True)
class Pairing:
    """A model that compares pictures with sentences, and what prepares both."""

    model: Any
    images: Any
    words: Any

    @property
    def sigmoid(self) -> bool:
        """Whether each score stands for itself (SigLIP); those of CLIP add up to 1."""
        return "siglip" in str(self.model.config.model_type)

    def sentences(self, texts: Sequence[str]) -> Any:
        """The model's tokens; SigLIP was trained on sentences of one length only."""
        longest = self.model.config.text_config.max_position_embeddings
        how: Any = "max_length" if self.sigmoid else True
        return self.words(
            list(texts),
            padding=how,
            truncation=True,
            max_length=longest,
            return_tensors="pt",
            return_token_type_ids=False,
        ).to(self.model.device)

    def picture(self, data: bytes) -> Any:
        """The model's picture."""
        seen = self.images(images=as_pil(data), return_tensors="pt")
        return seen["pixel_values"].to(self.model.device, self.model.dtype)


def load(folder: Path, device: str, dtype: str) -> Pairing:
    """Raises :class:`~pipelines.errors.ModelError` (``model_broken``, ``model_needs_remote_code``)."""
    model = opened("AutoModelForZeroShotImageClassification", folder, device, dtype)
    return Pairing(model, image_processor(folder), tokenizer(folder))


def run(model: Pairing, jobs: Sequence[Job[OnePicture, ZeroShotParameters]]) -> list[Done | PipelineError]:
    """How well each label fits, the best first."""
    import torch

    def compared(job: Job[OnePicture, ZeroShotParameters]) -> Done:
        labels = list(dict.fromkeys(job.parameters.candidate_labels))
        sentences = model.sentences([job.parameters.hypothesis_template.replace("{}", label) for label in labels])
        with torch.inference_mode():
            logits = model.model(**sentences, pixel_values=model.picture(job.inputs.image)).logits_per_image[0].float()
        scores = (logits.sigmoid() if model.sigmoid else logits.softmax(-1)).tolist()
        told = sorted(zip(scores, labels, strict=True), reverse=True)
        found = [LabelScore(label=label, score=round(score, 6)).model_dump() for score, label in told]
        return Done(found, tokens=int(sentences["input_ids"].numel()))

    return each(jobs, compared, "zero-shot-image-classification")


SPEC: TaskSpec[Pairing, OnePicture, ZeroShotParameters] = TaskSpec(
    "zero-shot-image-classification",
    "Tells which of some descriptions fits a picture best",
    OnePicture,
    ZeroShotParameters,
    list[LabelScore],
    load,
    run,
    cached=lambda job: True,
    batch=1,
)
