"""``audio-normalization``: how loud a sound is, and the same at a wanted loudness. Needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.audio import loudness
from pipelines.tasks.audio.sounds import Fields, SoundIn, as_samples, each, encoded, wav_file, wave_of

LONGEST = 300.0
"""Seconds of one sound."""


class Wanted(Fields):
    """What the sound is to become."""

    loudness_lufs: Annotated[float, Field(ge=-60, le=-5)] = -23.0
    """Integrated, as EBU R 128 asks of broadcasts; its peaks stay 1 dB below full scale."""
    high_pass_hz: Annotated[float, Field(ge=20, le=1000)] | None = None
    """What is lower is taken away first: hum, rumble."""


class Normalized(TypedDict):
    """The sound, and how loud it was and is; ``None``: silent, or shorter than 0.4 s."""

    audio: str
    """WAV in base64."""
    sampling_rate: int
    input_lufs: float | None
    output_lufs: float | None


def _one(job: Job[SoundIn, Wanted]) -> Done:
    sound = wave_of(job.inputs.inputs, loudness.RATE, LONGEST)
    if job.parameters.high_pass_hz:
        sound = loudness.Filter(loudness.high_pass(job.parameters.high_pass_hz)).push(sound)
    before = loudness.integrated(sound)
    made = loudness.brought_to(sound, job.parameters.loudness_lufs)
    file = encoded(wav_file(as_samples(made), loudness.RATE))
    after = loudness.integrated(made)
    return Done(
        Normalized(audio=file, sampling_rate=loudness.RATE, input_lufs=_tenths(before), output_lufs=_tenths(after))
    )


def _tenths(lufs: float | None) -> float | None:
    return None if lufs is None else round(lufs, 1)


def _run(model: None, jobs: Sequence[Job[SoundIn, Wanted]]) -> Sequence[Done | PipelineError]:
    return each(jobs, _one)


def _load(folder: Path, device: str, dtype: str) -> None:
    return None


SPEC: TaskSpec[None, SoundIn, Wanted] = TaskSpec(
    name="audio-normalization",
    about="How loud a sound is (EBU R 128), and the same sound at a wanted loudness",
    inputs=SoundIn,
    parameters=Wanted,
    output=Normalized,
    load=_load,
    run=_run,
    packages=("numpy",),
    library="onnxruntime",
    needs_model=False,
    batch=1,
)
