"""``speaker-similarity``: whether two recordings are of one voice. It is no proof of identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from pipelines.errors import PipelineError
from pipelines.interfaces.media_fields import FileBytes
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.audio.models.voice_encoder import FILE, RATE, VoiceEncoder, load_voice_encoder
from pipelines.tasks.audio.sounds import Fields, each, wave_of

LONGEST = 120.0
"""Seconds of each sound."""


class TwoSounds(Fields):
    """Two sound files."""

    inputs: FileBytes
    other: FileBytes


class Asked(Fields):
    """Where one voice ends."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.75
    """From which similarity on it counts as the same voice: measured on clean speech, one voice is mostly above it and
    two are mostly below."""


class Similarity(TypedDict):
    """The output."""

    score: float
    """Cosine of the angle between the voices' vectors, 0–1."""
    same_speaker: bool


def _one(model: VoiceEncoder, job: Job[TwoSounds, Asked]) -> Done:
    first = model.vector(wave_of(job.inputs.inputs, RATE, LONGEST))
    second = model.vector(wave_of(job.inputs.other, RATE, LONGEST, "other"), "other")
    score = min(1.0, max(0.0, float(first @ second)))
    return Done(Similarity(score=score, same_speaker=score >= job.parameters.threshold))


def _run(model: VoiceEncoder, jobs: Sequence[Job[TwoSounds, Asked]]) -> Sequence[Done | PipelineError]:
    return each(jobs, lambda job: _one(model, job))


SPEC: TaskSpec[VoiceEncoder, TwoSounds, Asked] = TaskSpec(
    name="speaker-similarity",
    about="Whether two recordings are of one voice",
    inputs=TwoSounds,
    parameters=Asked,
    output=Similarity,
    load=load_voice_encoder,
    run=_run,
    packages=("torch",),
    fits=lambda folder: FILE in folder.names,
    catalogue_task="speaker-embedding",
    batch=1,
)
