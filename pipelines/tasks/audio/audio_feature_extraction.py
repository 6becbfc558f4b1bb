"""``audio-feature-extraction``: a sound, or a text about one, as a vector: what sounds alike lies close together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from pipelines.errors import PipelineError
from pipelines.interfaces.media_fields import FileBytes
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.audio.models.clap import Clap, load_clap
from pipelines.tasks.audio.sounds import Fields, each, wave_of

LONGEST = 300.0
"""Seconds of one sound; the model hears a stretch of ten of it."""


class SoundOrText(Fields):
    """One of the two."""

    inputs: FileBytes | None = None
    text: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """What a sound is like, in words: its vector is compared with those of sounds."""

    @model_validator(mode="after")
    def _one_of_them(self) -> SoundOrText:
        if (self.inputs is None) == (self.text is None):
            raise ValueError("give inputs (a sound file) or text, and not both")
        return self


class Nothing(Fields):
    """There is nothing to choose."""


def _one(model: Clap, job: Job[SoundOrText, Nothing]) -> Done:
    if job.inputs.text is not None:
        return Done(model.texts([job.inputs.text])[0].tolist())
    assert job.inputs.inputs is not None
    return Done(model.sounds([wave_of(job.inputs.inputs, model.rate, LONGEST)])[0].tolist())


def _run(model: Clap, jobs: Sequence[Job[SoundOrText, Nothing]]) -> Sequence[Done | PipelineError]:
    return each(jobs, lambda job: _one(model, job))


SPEC: TaskSpec[Clap, SoundOrText, Nothing] = TaskSpec(
    name="audio-feature-extraction",
    about="A sound, or a text about one, as a vector of length 1 (CLAP)",
    inputs=SoundOrText,
    parameters=Nothing,
    output=list[float],
    load=load_clap,
    run=_run,
    fits=lambda folder: folder.architecture == "ClapModel",
    batch=1,
)
