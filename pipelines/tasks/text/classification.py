"""``text-classification``: which of a model's labels a text has, such as its sentiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.routing.stage_types import Strict
from pipelines.tasks.text.encoders import Classifier, Entailment, Floats, classifies, labels_of, load

LONGEST = 400_000
"""Characters of a text, before the model has counted its tokens."""


class ClassificationInputs(Strict):
    """What is classified."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST)]
    text_pair: Annotated[str, Field(min_length=1, max_length=LONGEST)] | None = None
    """A second text, for models that judge how two relate."""


class ClassificationParameters(Strict):
    """How."""

    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = None
    """What makes scores of the model's numbers; default: as the model says, ``sigmoid`` where labels may go together or
    there is only one, ``softmax`` for others."""
    top_k: int | None = Field(None, ge=1)
    """So many of the likeliest labels; default: all."""
    truncate: bool = False
    """Whether a text that is too long is cut, or else refused."""


class Label(Strict):
    """One label."""

    label: str
    score: float


def classifier(model: Any) -> Classifier:
    """Raises :class:`ModelError` for a model that does not classify."""
    if not isinstance(model, Classifier):
        raise ModelError("model_broken", "the model gives vectors of texts and has no labels for them")
    return model


def sigmoid(values: Floats) -> Floats:
    """Each by itself, from 0 to 1."""
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -80, 80))), np.float32)


def softmax(values: Floats) -> Floats:
    """Along the last axis; together they are 1."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def ordered(labels: Sequence[str], scores: Floats) -> list[dict[str, Any]]:
    """The likeliest first."""
    rows = [{"label": label, "score": float(score)} for label, score in zip(labels, scores, strict=True)]
    return sorted(rows, key=lambda row: -float(row["score"]))


def run(
    model: Any, jobs: Sequence[Job[ClassificationInputs, ClassificationParameters]]
) -> Sequence[Done | PipelineError]:
    """The labels of each item, the likeliest first."""
    known = classifier(model)
    rows: list[dict[str, list[int]] | TaskError] = []
    for job in jobs:
        try:
            rows.append(
                known.encode(job.inputs.text, job.inputs.text_pair, truncate=job.parameters.truncate, field="text")
            )
        except TaskError as error:
            rows.append(error)
    good = [row for row in rows if isinstance(row, dict)]
    logits = iter(known.logits(good) if good else ())
    return [
        row if isinstance(row, TaskError) else _scored(known, next(logits), job.parameters, len(row["input_ids"]))
        for row, job in zip(rows, jobs, strict=True)
    ]


def _scored(model: Classifier, logits: Floats, parameters: ClassificationParameters, tokens: int) -> Done:
    usual = getattr(model.model.config, "function_to_apply", None)
    if usual is None:
        several = model.model.config.problem_type == "multi_label_classification" or len(model.labels) == 1
        usual = "sigmoid" if several else "softmax"
    function = parameters.function_to_apply or usual
    scores = sigmoid(logits) if function == "sigmoid" else softmax(logits) if function == "softmax" else logits
    return Done(ordered(model.labels, scores)[: parameters.top_k], tokens)


def _cost(job: Job[Any, Any]) -> int:
    return (len(job.inputs.text) + len(job.inputs.text_pair or "")) // 4 + 2


def _fits(folder: Any) -> int:
    """A model of entailment or of a single score can be asked, but is hardly what is meant."""
    labels = labels_of(folder)
    if not classifies(folder) or len(labels) == 1:
        return 0
    return 1 if Entailment.among(labels) is not None else 2


SPEC = TaskSpec(
    name="text-classification",
    about="Which of the model's labels a text has, and how surely",
    inputs=ClassificationInputs,
    parameters=ClassificationParameters,
    output=list[Label],
    load=load,
    run=run,
    cost=_cost,
    fits=_fits,
    cached=lambda job: True,
    batch=32,
)
