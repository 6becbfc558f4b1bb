"""``speaker-embedding``: a voice as a vector of length 1: the same voice points the same way whatever it says."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.audio.models.voice_encoder import FILE, RATE, VoiceEncoder, load_voice_encoder
from pipelines.tasks.audio.sounds import Fields, SoundIn, each, wave_of

LONGEST = 120.0
"""Seconds of one sound."""


class Nothing(Fields):
    """There is nothing to choose."""


def _one(model: VoiceEncoder, job: Job[SoundIn, Nothing]) -> Done:
    return Done(model.vector(wave_of(job.inputs.inputs, RATE, LONGEST)).tolist())


def _run(model: VoiceEncoder, jobs: Sequence[Job[SoundIn, Nothing]]) -> Sequence[Done | PipelineError]:
    return each(jobs, lambda job: _one(model, job))


SPEC: TaskSpec[VoiceEncoder, SoundIn, Nothing] = TaskSpec(
    name="speaker-embedding",
    about="A voice as a vector of length 1",
    inputs=SoundIn,
    parameters=Nothing,
    output=list[float],
    load=load_voice_encoder,
    run=_run,
    packages=("torch",),
    fits=lambda folder: FILE in folder.names,
    batch=1,
)
