"""What tasks on sound share: files in any container → samples within bounds, samples → WAV, and their error codes."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from media.files import TooLongError, UnreadableFileError, decode
from media.frames import Samples
from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.media_fields import FileBytes
from pipelines.interfaces.task import Done, TaskError

Wave = NDArray[np.float32]
"""Mono sound, shape ``(n,)``, full scale ±1."""
J = TypeVar("J")


class Fields(BaseModel):
    """Data of a task: nothing else than its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SoundIn(Fields):
    """One sound file."""

    inputs: FileBytes
    """WAV, FLAC, MP3, Ogg, WebM, MP4 …: whatever :func:`media.files.decode` reads."""


def pieces(data: bytes, rate: int, longest: float, field: str = "inputs") -> Iterator[Samples]:
    """The sound of a file at ``rate`` hertz, mono, in pieces.

    Raises :class:`TaskError` naming ``field``: ``invalid_value``, or ``input_too_long`` above ``longest`` seconds.
    """
    try:
        yield from decode(data, rate, longest)
    except TooLongError as error:
        raise TaskError("input_too_long", f"{field}: {error}") from error
    except UnreadableFileError as error:
        raise TaskError("invalid_value", f"{field}: {error}") from error


def samples_of(data: bytes, rate: int, longest: float, field: str = "inputs") -> Samples:
    """The whole sound of a file. Raises as :func:`pieces`, and ``invalid_value`` when there is not a sample in it."""
    parts = list(pieces(data, rate, longest, field))
    whole = np.concatenate(parts) if parts else np.zeros(0, np.int16)
    if not len(whole):
        raise TaskError("invalid_value", f"{field}: there is no sound in it")
    return whole


def wave_of(data: bytes, rate: int, longest: float, field: str = "inputs") -> Wave:
    """As :func:`samples_of`, at full scale ±1."""
    return as_wave(samples_of(data, rate, longest, field))


def as_wave(samples: Samples) -> Wave:
    """Full scale ±1."""
    return samples.astype(np.float32) / 32768.0


def as_samples(sound: NDArray[np.floating]) -> Samples:
    """Full scale ±32767; what is louder is clipped."""
    scaled = np.clip(np.nan_to_num(np.asarray(sound, np.float32)) * 32768.0, -32767.0, 32767.0)
    samples: Samples = np.rint(scaled).astype(np.int16)
    return samples


def wav_file(samples: Samples, rate: int) -> bytes:
    """A WAV file, 16-bit mono."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def encoded(data: bytes) -> str:
    """Base64, as files stand in JSON."""
    return base64.b64encode(data).decode("ascii")


def each(jobs: Sequence[J], one: Callable[[J], Done]) -> list[Done | PipelineError]:
    """``one`` of each job, in order; the error of a job is its own."""
    results: list[Done | PipelineError] = []
    for job in jobs:
        try:
            results.append(one(job))
        except PipelineError as error:
            results.append(error)
    return results


def only_file(folder: Path, name: str) -> Path:
    """``folder/name``. Raises :class:`ModelError` (``model_broken``) when it is not there."""
    if not (folder / name).is_file():
        raise ModelError("model_broken", f"{folder.name} has no {name}")
    return folder / name
