"""``zero-shot-audio-classification``: which of the labels that the caller gives fits a sound best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.audio.models.clap import Clap, load_clap
from pipelines.tasks.audio.sounds import Fields, SoundIn, each, wave_of

LONGEST = 300.0
"""Seconds of one sound; the model hears a stretch of ten of it."""
MOST_LABELS = 200
"""Labels in one request."""


def _with_a_place(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError("must hold {} once, where the label goes")
    return template


class Labels(Fields):
    """What it may be."""

    candidate_labels: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(min_length=1, max_length=MOST_LABELS)
    ]
    hypothesis_template: Annotated[str, Field(max_length=200), AfterValidator(_with_a_place)] = "This is a sound of {}."


class LabelScore(TypedDict):
    """One label; all scores add up to 1."""

    label: str
    score: float


def _one(model: Clap, job: Job[SoundIn, Labels]) -> Done:
    sound = wave_of(job.inputs.inputs, model.rate, LONGEST)
    labels = list(dict.fromkeys(job.parameters.candidate_labels))
    texts = [job.parameters.hypothesis_template.replace("{}", label) for label in labels]
    alike = model.texts(texts) @ model.sounds([sound])[0] * model.scale
    odds = np.exp(alike - alike.max())
    scores = odds / odds.sum()
    order = np.argsort(-scores, kind="stable")
    return Done([LabelScore(label=labels[n], score=float(scores[n])) for n in order])


def _run(model: Clap, jobs: Sequence[Job[SoundIn, Labels]]) -> Sequence[Done | PipelineError]:
    return each(jobs, lambda job: _one(model, job))


SPEC: TaskSpec[Clap, SoundIn, Labels] = TaskSpec(
    name="zero-shot-audio-classification",
    about="Which of your labels fits a sound best (CLAP)",
    inputs=SoundIn,
    parameters=Labels,
    output=list[LabelScore],
    load=load_clap,
    run=_run,
    batch=1,
)
