"""``automatic-speech-recognition``: what is said in a recording, or that in English, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.audio.models.listeners import RATE, Heard, Listener, Times, Wish, is_whisper, load_listener
from pipelines.tasks.audio.sounds import Fields, SoundIn, Wave, each, wave_of

LONGEST = 3600.0
"""Seconds of one recording."""


class GenerationParameters(Fields):
    """Of those that the Hugging Face hub names, what acts on a recogniser."""

    num_beams: Annotated[int, Field(ge=1, le=8)] = 1
    max_new_tokens: Annotated[int, Field(ge=1, le=220)] | None = None
    """In each window of 30 s."""


class Asked(Fields):
    """How it is heard."""

    return_timestamps: bool | Literal["segment", "word"] = False
    """``true``: of segments."""
    task: Literal["transcribe", "translate"] = "transcribe"
    """``translate``: into English."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] | None = None
    """Code such as ``de`` of what is spoken; by default it is detected."""
    skip_silence: bool = True
    """Whether stretches without speech are left out, where a model would make up words; Whisper on CTranslate2 alone
    does."""
    generation_parameters: GenerationParameters = GenerationParameters()


class Chunk(TypedDict):
    """A segment or a word."""

    text: str
    timestamp: list[float]
    """Start and end, in seconds."""


class Recognized(TypedDict):
    """The output."""

    text: str
    duration: float
    """Seconds of the recording."""
    language: NotRequired[str]
    """Of the text, where it is known."""
    chunks: NotRequired[list[Chunk]]


def _wish(asked: Asked) -> Wish:
    times: Times = "segment" if asked.return_timestamps is True else asked.return_timestamps or "none"
    given = asked.generation_parameters
    translate = asked.task == "translate"
    return Wish(translate, asked.language, times, given.num_beams, given.max_new_tokens, asked.skip_silence)


def _done(heard: Sequence[Sequence[Heard]], sound: Wave, wish: Wish) -> Done:
    every = [one for part in heard for one in part]
    output = Recognized(text=" ".join(one.text for one in every if one.text), duration=round(len(sound) / RATE, 3))
    if every and every[0].language:
        output["language"] = every[0].language
    if wish.times != "none":
        output["chunks"] = [_chunk(one) for one in every]
    return Done(output)


def _chunk(heard: Heard) -> Chunk:
    return Chunk(text=heard.text, timestamp=[round(heard.start, 3), round(max(heard.start, heard.end), 3)])


def _one(model: Listener, job: Job[SoundIn, Asked]) -> Done:
    wish = _wish(job.parameters)
    sound = wave_of(job.inputs.inputs, RATE, LONGEST)
    return _done(list(model.listen(sound, wish)), sound, wish)


def _run(model: Listener, jobs: Sequence[Job[SoundIn, Asked]]) -> Sequence[Done | PipelineError]:
    return each(jobs, lambda job: _one(model, job))


def _stream(model: Listener, job: Job[SoundIn, Asked], stopped: Callable[[], bool]) -> Iterator[Any]:
    """Chunks as they are recognised, then the whole."""
    wish = _wish(job.parameters)
    sound = wave_of(job.inputs.inputs, RATE, LONGEST)
    heard = []
    for part in model.listen(sound, wish):
        if stopped():
            return
        heard.append(part)
        yield from map(_chunk, part)
    yield _done(heard, sound, wish)


SPEC: TaskSpec[Listener, SoundIn, Asked] = TaskSpec(
    name="automatic-speech-recognition",
    about="What is said in a recording, or that in English, with the times of segments or words",
    inputs=SoundIn,
    parameters=Asked,
    output=Recognized,
    load=load_listener,
    run=_run,
    stream=_stream,
    cost=lambda job: max(1, len(job.inputs.inputs) // 1000),
    packages=("faster_whisper", "transformers"),
    library="ctranslate2",
    catalogue_task="speech-to-text",
    fits=lambda folder: is_whisper(folder) or folder.architecture.endswith("ForCTC"),
    batch=1,
)
