"""``zero-shot-classification``: which of labels made up by the caller a text has, by a model of entailment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.routing.stage_types import Strict
from pipelines.tasks.text.classification import LONGEST, Label, classifier, ordered, softmax
from pipelines.tasks.text.encoders import Classifier, Entailment, Floats, classifies, labels_of, load

LabelText = Annotated[str, Field(min_length=1, max_length=400)]


class ZeroShotInputs(Strict):
    """What is classified."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST)]


class ZeroShotParameters(Strict):
    """Into what, and how."""

    candidate_labels: Annotated[tuple[LabelText, ...], Field(min_length=1, max_length=100)]
    hypothesis_template: str = Field("This example is {}.", max_length=400)
    """A sentence with ``{}`` where the label stands."""
    multi_label: bool = False
    """Whether several labels may be right: then each has a score of its own, or else the scores add up to 1."""
    truncate: bool = False
    """Whether a text that is too long is cut, or else refused."""

    @field_validator("candidate_labels", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Labels in one string are separated by commas, as the pipeline of transformers has it."""
        return tuple(one.strip() for one in value.split(",") if one.strip()) if isinstance(value, str) else value

    @field_validator("hypothesis_template")
    @classmethod
    def _has_a_place(cls, value: str) -> str:
        if "{}" not in value:
            raise ValueError("must hold {} where the label is to stand")
        return value


def run(model: Any, jobs: Sequence[Job[ZeroShotInputs, ZeroShotParameters]]) -> Sequence[Done | PipelineError]:
    """The labels of each item, the likeliest first; one row of the model for each label."""
    known = classifier(model)
    places = Entailment.among(known.labels)
    if places is None:
        raise ModelError("model_broken", f"the model knows no entailment; its labels are {', '.join(known.labels)}")
    read = [_rows(known, job) for job in jobs]
    rows = [row for one in read if isinstance(one, list) for row in one]
    logits = known.logits(rows) if rows else np.zeros((0, len(known.labels)), np.float32)
    results: list[Done | PipelineError] = []
    for one, job in zip(read, jobs, strict=True):
        if isinstance(one, TaskError):
            results.append(one)
            continue
        mine, logits = logits[: len(one)], logits[len(one) :]
        tokens = sum(len(row["input_ids"]) for row in one)
        results.append(Done(ordered(job.parameters.candidate_labels, _scores(mine, places, job.parameters)), tokens))
    return results


def _rows(model: Classifier, job: Job[ZeroShotInputs, ZeroShotParameters]) -> list[dict[str, list[int]]] | TaskError:
    parameters = job.parameters
    try:
        return [
            model.encode(
                job.inputs.text,
                parameters.hypothesis_template.replace("{}", label),
                truncate=parameters.truncate,
                field="text",
            )
            for label in parameters.candidate_labels
        ]
    except TaskError as error:
        return error


def _scores(logits: Floats, places: Entailment, parameters: ZeroShotParameters) -> Floats:
    if parameters.multi_label or len(logits) == 1:
        return softmax(logits[:, [places.contradicts, places.entails]])[:, 1]
    return softmax(logits[:, places.entails])


def _cost(job: Job[Any, Any]) -> int:
    return (len(job.inputs.text) // 4 + 12) * len(job.parameters.candidate_labels)


SPEC = TaskSpec(
    name="zero-shot-classification",
    about="Which of your own labels a text has, with no training",
    inputs=ZeroShotInputs,
    parameters=ZeroShotParameters,
    output=list[Label],
    load=load,
    run=run,
    cost=_cost,
    fits=lambda folder: int(classifies(folder) and Entailment.among(labels_of(folder)) is not None),
    cached=lambda job: True,
)
