"""``audio-language-detection``: which language is spoken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.audio.models.listeners import RATE, Listener, is_whisper, load_listener
from pipelines.tasks.audio.sounds import Fields, SoundIn, each, wave_of

LONGEST = 3600.0
"""Seconds of one recording."""


class Asked(Fields):
    """How much is told."""

    top_k: Annotated[int, Field(ge=1, le=100)] = 5
    """How many languages."""


class LanguageScore(TypedDict):
    """One language that it may be."""

    label: str
    """Code such as ``de``."""
    score: float


def language_name(code: str) -> str:
    """In English, in small letters, as Whisper's authors call it."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    return str(LANGUAGES.get(code, code))


def _one(model: Listener, job: Job[SoundIn, Asked]) -> Done:
    ranking = model.languages(wave_of(job.inputs.inputs, RATE, LONGEST))
    return Done([LanguageScore(label=code, score=odds) for code, odds in ranking[: job.parameters.top_k]])


def _run(model: Listener, jobs: Sequence[Job[SoundIn, Asked]]) -> Sequence[Done | PipelineError]:
    return each(jobs, lambda job: _one(model, job))


SPEC: TaskSpec[Listener, SoundIn, Asked] = TaskSpec(
    name="audio-language-detection",
    about="Which language is spoken in the first 30 s of a recording",
    inputs=SoundIn,
    parameters=Asked,
    output=list[LanguageScore],
    load=load_listener,
    run=_run,
    packages=("faster_whisper", "transformers"),
    library="ctranslate2",
    catalogue_task="speech-to-text",
    fits=is_whisper,
    batch=1,
)
