"""``text-to-speech``: a text read aloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, ModelFolder, TaskError, TaskSpec
from pipelines.tasks.audio.models.speakers import Speaker, load_speaker
from pipelines.tasks.audio.sounds import Fields, Wave, as_samples, each, encoded, wav_file

LONGEST = 5_000
"""Characters of a text."""


class TextIn(Fields):
    """One text."""

    inputs: Annotated[str, Field(min_length=1, max_length=LONGEST)]


class Manner(Fields):
    """How it is read."""

    voice: Annotated[str, Field(max_length=100)] | None = None
    """One of the model's; by default its first."""
    speed: Annotated[float, Field(ge=0.25, le=4)] = 1.0


class SpeechOut(TypedDict):
    """The output."""

    audio: str
    """WAV in base64."""
    sampling_rate: int


def spoken(pieces: Sequence[Wave], rate: int) -> SpeechOut:
    """The pieces as one file. Raises :class:`TaskError` where there are none."""
    if not sum(map(len, pieces)):
        raise TaskError("invalid_value", "inputs: nothing in it makes a sound")
    return SpeechOut(audio=encoded(wav_file(as_samples(np.concatenate(pieces)), rate)), sampling_rate=rate)


def _pieces(model: Speaker, job: Job[TextIn, Manner]) -> Iterator[Wave]:
    return model.speak(job.inputs.inputs, job.parameters.voice, job.parameters.speed)


def _run(model: Speaker, jobs: Sequence[Job[TextIn, Manner]]) -> Sequence[Done | PipelineError]:
    return each(jobs, lambda job: Done(spoken(list(_pieces(model, job)), model.rate)))


def _stream(model: Speaker, job: Job[TextIn, Manner], stopped: Callable[[], bool]) -> Iterator[Any]:
    """A WAV file for each piece, then the whole."""
    made: list[Wave] = []
    for piece in _pieces(model, job):
        if stopped():
            return
        if len(piece):
            made.append(piece)
            yield spoken([piece], model.rate)
    yield Done(spoken(made, model.rate))


def _fits(folder: ModelFolder) -> bool:
    speaks = folder.config.get("model_type") in ("vits", "speecht5") and "ForSpeechToText" not in folder.architecture
    return speaks or any(name.endswith(".onnx.json") for name in folder.names)


SPEC: TaskSpec[Speaker, TextIn, Manner] = TaskSpec(
    name="text-to-speech",
    about="A text read aloud by a Piper voice, a VITS or a SpeechT5",
    inputs=TextIn,
    parameters=Manner,
    output=SpeechOut,
    load=load_speaker,
    run=_run,
    stream=_stream,
    cost=lambda job: len(job.inputs.inputs) // 3 + 1,
    packages=("piper", "transformers"),
    fits=_fits,
    batch=1,
)
