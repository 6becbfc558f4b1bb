"""Sound files made on the spot, and tasks run on them without a server."""

from __future__ import annotations

from typing import Any

import numpy as np

from media.frames import Samples
from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.audio.sounds import as_samples, wav_file


def tone_file(seconds: float = 1.0, rate: int = 16_000, hertz: float = 440.0, level: float = 0.3) -> bytes:
    """A WAV file with a sine wave."""
    return wav_file(as_samples(level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)), rate)


def noise_file(seconds: float = 1.0, rate: int = 16_000, seed: int = 1) -> bytes:
    """A WAV file with white noise."""
    return wav_file(as_samples(0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))), rate)


def voiced(length: int, rate: int = 16_000) -> Samples:
    """A tone that comes and goes over some noise: ``length`` samples, the same for the same length."""
    time = np.arange(length) / rate
    noise = np.random.default_rng(length).normal(0, 300, length)
    return np.asarray(4000 * np.sin(2 * np.pi * 220 * time) * (np.sin(5 * time) > 0) + noise, np.int16)


def job(spec: TaskSpec[Any, Any, Any], inputs: dict[str, Any], **parameters: Any) -> Job[Any, Any]:
    """An item as a request would make it. Raises what pydantic does."""
    return Job(spec.inputs.model_validate(inputs), spec.parameters.model_validate(parameters))


def output(spec: TaskSpec[Any, Any, Any], model: Any, inputs: dict[str, Any], **parameters: Any) -> Any:
    """What the task makes of one item. Raises its :class:`PipelineError`."""
    (result,) = spec.run(model, [job(spec, inputs, **parameters)])
    if isinstance(result, PipelineError):
        raise result
    assert isinstance(result, Done)
    return result.output
