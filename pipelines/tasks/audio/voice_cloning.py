"""``voice-cloning``: a text in the voice of a recording, whose speaker has agreed to that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from pipelines.errors import PipelineError
from pipelines.interfaces.media_fields import FileBytes
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.tasks.audio.models.cloning import PocketSpeaker, load_pocket
from pipelines.tasks.audio.sounds import Fields, Wave, each, wave_of
from pipelines.tasks.audio.text_to_speech import LONGEST, SpeechOut, spoken

LONGEST_REFERENCE = 30.0
"""Seconds of a recording."""
SHORTEST_REFERENCE = 1.0


class TextAndVoice(Fields):
    """A text, and the recording of a voice. Neither is written to any log or disk."""

    inputs: Annotated[str, Field(min_length=1, max_length=LONGEST)]
    reference: Annotated[FileBytes, Field(repr=False)]


class Consent(Fields):
    """There is nothing to choose, but something to say."""

    consent: Literal[True]
    """That whoever speaks in the recording has agreed to be spoken as."""


def reference_of(data: bytes, rate: int, field: str = "reference") -> Wave:
    """The recording. Raises :class:`TaskError` naming ``field`` when it is no sound, too long or too short."""
    sound = wave_of(data, rate, LONGEST_REFERENCE, field)
    if len(sound) < SHORTEST_REFERENCE * rate:
        raise TaskError("invalid_value", f"{field}: it is shorter than {SHORTEST_REFERENCE:g} s")
    return sound


def _pieces(model: PocketSpeaker, job: Job[TextAndVoice, Consent]) -> Iterator[Wave]:
    return model.speak(job.inputs.inputs, reference_of(job.inputs.reference, model.rate))


def _run(model: PocketSpeaker, jobs: Sequence[Job[TextAndVoice, Consent]]) -> Sequence[Done | PipelineError]:
    return each(jobs, lambda job: Done(spoken(list(_pieces(model, job)), model.rate)))


def _stream(model: PocketSpeaker, job: Job[TextAndVoice, Consent], stopped: Callable[[], bool]) -> Iterator[Any]:
    """A WAV file for each piece, then the whole."""
    made: list[Wave] = []
    for piece in _pieces(model, job):
        if stopped():
            return
        if len(piece):
            made.append(piece)
            yield spoken([piece], model.rate)
    yield Done(spoken(made, model.rate))


SPEC: TaskSpec[PocketSpeaker, TextAndVoice, Consent] = TaskSpec(
    name="voice-cloning",
    about="A text in the voice of a recording, whose speaker has agreed to that (Pocket TTS)",
    inputs=TextAndVoice,
    parameters=Consent,
    output=SpeechOut,
    load=load_pocket,
    run=_run,
    stream=_stream,
    cost=lambda job: len(job.inputs.inputs) // 3 + 1,
    fits=lambda folder: folder.config.get("model_type") == "pocket_tts",
    batch=1,
)
