"""``audio-to-audio``: speech without the noise around it, by DeepFilterNet 3, and at a wanted loudness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.tasks.audio import loudness
from pipelines.tasks.audio.models.deep_filter import FILE, RATE, DeepFilterNet, load_deep_filter
from pipelines.tasks.audio.sounds import Fields, SoundIn, Wave, as_samples, as_wave, each, encoded, pieces, wav_file

LONGEST = 300.0
"""Seconds of one sound."""


class Treatment(Fields):
    """What is done beside taking the noise away."""

    attenuation_limit_db: Annotated[float, Field(ge=0, le=100)] = 100.0
    """Noise is lowered by no more than this; 100: by all that can be."""
    high_pass_hz: Annotated[float, Field(ge=20, le=1000)] | None = None
    """What is lower is taken away first: hum, rumble."""
    loudness_lufs: Annotated[float, Field(ge=-60, le=-5)] | None = None
    """The integrated loudness of the result (EBU R 128: -23); its peaks stay 1 dB below full scale."""
    context_seconds: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Of the beginning, which is heard and not given back: for sounds that come in parts."""


SoundOut = TypedDict("SoundOut", {"label": str, "content-type": str, "blob": str})
"""A WAV file in base64, as the Hugging Face hub answers."""


def _file(sound: Wave) -> SoundOut:
    return {"label": "speech", "content-type": "audio/wav", "blob": encoded(wav_file(as_samples(sound), RATE))}


def cleaned(model: DeepFilterNet, data: bytes, asked: Treatment) -> Iterator[Wave]:
    """The sound of a file without its noise, in pieces. Raises :class:`TaskError`."""
    stream = model.open(asked.attenuation_limit_db)
    low_cut = loudness.Filter(loudness.high_pass(asked.high_pass_hz)) if asked.high_pass_hz else None
    skip, count = round(asked.context_seconds * RATE), 0
    for part in _seconds(data):
        count += len(part)
        made = stream.push(low_cut.push(part) if low_cut else part)
        yield made[skip:]
        skip = max(0, skip - len(made))
    if not count:
        raise TaskError("invalid_value", "inputs: there is no sound in it")
    if count <= asked.context_seconds * RATE:
        raise TaskError("invalid_value", "context_seconds: the sound is not longer than that")
    yield stream.finish()[skip:]


def _seconds(data: bytes) -> Iterator[Wave]:
    """The sound of a file in pieces of about a second: decoders give some of a few milliseconds."""
    held: list[Wave] = []
    for part in pieces(data, RATE, LONGEST):
        held.append(as_wave(part))
        if sum(map(len, held)) >= RATE:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _whole(model: DeepFilterNet, job: Job[SoundIn, Treatment]) -> Done:
    made = np.concatenate(list(cleaned(model, job.inputs.inputs, job.parameters)))
    if job.parameters.loudness_lufs is not None:
        made = loudness.brought_to(made, job.parameters.loudness_lufs)
    return Done([_file(made)])


def _run(model: DeepFilterNet, jobs: Sequence[Job[SoundIn, Treatment]]) -> Sequence[Done | PipelineError]:
    return each(jobs, lambda job: _whole(model, job))


def _stream(model: DeepFilterNet, job: Job[SoundIn, Treatment], stopped: Callable[[], bool]) -> Iterator[Any]:
    """A WAV file for each second, as it is ready, then the whole; at a wanted loudness the whole alone."""
    if job.parameters.loudness_lufs is not None:
        yield _whole(model, job)
        return
    made: list[Wave] = []
    for piece in cleaned(model, job.inputs.inputs, job.parameters):
        if stopped():
            return
        if len(piece):
            made.append(piece)
            yield _file(piece)
    yield Done([_file(np.concatenate(made))])


def _load(folder: Path, device: str, dtype: str) -> DeepFilterNet:
    return load_deep_filter(folder)


SPEC: TaskSpec[DeepFilterNet, SoundIn, Treatment] = TaskSpec(
    name="audio-to-audio",
    about="Speech without the noise around it, at a wanted loudness; 48 kHz",
    inputs=SoundIn,
    parameters=Treatment,
    output=list[SoundOut],
    load=_load,
    run=_run,
    stream=_stream,
    cost=lambda job: max(1, len(job.inputs.inputs) // 1000),
    packages=("onnxruntime", "onnx"),
    library="onnxruntime",
    fits=lambda folder: FILE in folder.names,
    batch=1,
)
