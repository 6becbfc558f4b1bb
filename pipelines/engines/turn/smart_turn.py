"""Smart Turn v3: has the speaker finished? Judged from the sound of the last eight seconds.

Model: pipecat-ai/smart-turn v3.2 (BSD-2-Clause), a Whisper-tiny encoder with a classification head. Input: log-mel
features of 8 s at 16 kHz, zero-padded at the front, normalised to zero mean and unit variance. Output: the probability
that the turn is complete. 30–60 ms per call on one core, a few of them for the features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from pipelines.engines.onnx_session import open_session
from pipelines.engines.registry import Built, Found, Site
from pipelines.errors import STTError
from pipelines.interfaces.turn import TurnDetector
from pipelines.interfaces.vad import VAD_RATE
from pipelines.runtime.worker import Worker

_SECONDS = 8
_LIMIT = 3.0
"""Seconds that a judgement may take: by then the pause has long been judged without it."""
_MEL_BANDS = 80
_FRAMES = 800
_HOP = 160
_PAD_FRAMES = 4
"""More than one frame (400 samples) of nothing but padding before the sound."""


class SmartTurn:
    """Implements :class:`~pipelines.interfaces.turn.TurnDetector` on own threads; sessions share it.

    ``threads`` turns are judged at a time, one core each: several people often stop speaking at once.

    Raises :class:`STTError` (``turn_model_broken``) when ``path`` is no such model.
    """

    name = "smart-turn-v3.2"

    def __init__(self, path: Path, threads: int = 1) -> None:
        from faster_whisper.feature_extractor import FeatureExtractor

        try:
            self._session = open_session(path)
        except Exception as error:
            raise STTError("turn_model_broken", f"{path.name} is no usable ONNX model: {error}") from error
        self._features: Any = FeatureExtractor(feature_size=_MEL_BANDS, chunk_length=_SECONDS)
        self._worker = Worker("turn", threads=threads, inbox=32, limit=_LIMIT)

    async def completeness(self, samples: Samples) -> float:
        """Chance in 0–1 that the turn held by ``samples`` (16 kHz; the last 8 s count) is finished.

        Raises :class:`~pipelines.errors.EngineBusyError` and :class:`~pipelines.errors.EngineStuckError`.
        """
        return await self._worker.run(self._judge, samples)

    async def close(self) -> None:
        """End the thread. Idempotent."""
        self._worker.close()

    def _judge(self, samples: Samples) -> float:
        features = _features(self._features, _window(samples), len(samples))
        (probability,) = self._session.run(None, {"input_features": features[None]})
        return float(np.ravel(probability)[0])


def _window(samples: Samples) -> NDArray[np.float32]:
    """The last 8 s, padded at the front, zero mean and unit variance; shape ``(128000,)``."""
    wanted = _SECONDS * VAD_RATE
    audio = samples[-wanted:].astype(np.float32) / 32768.0
    audio = np.pad(audio, (wanted - len(audio), 0))
    return np.asarray((audio - audio.mean()) / np.sqrt(audio.var() + 1e-7), np.float32)


def _features(extract: Any, window: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Log-mel features of ``window``, shape ``(80, 800)``, of which only the last ``length`` samples hold sound.

    All frames of the padding are alike: one is computed and repeated.
    """
    sound = -(-length // _HOP) * _HOP + _PAD_FRAMES * _HOP
    computed = np.asarray(extract(window[-sound:], padding=0), np.float32)
    computed = computed[:, : sound // _HOP]
    missing = _FRAMES - computed.shape[1]
    if missing > 0:
        return np.concatenate([np.repeat(computed[:, :1], missing, axis=1), computed], axis=1)
    return computed[:, -_FRAMES:]


class LateTurnDetector:
    """Implements :class:`~pipelines.interfaces.turn.TurnDetector`: has no opinion until there is a detector to ask.

    A place for one whose model is still being fetched.
    """

    def __init__(self) -> None:
        self._detector: TurnDetector | None = None

    @property
    def name(self) -> str:
        """Of the detector; ``rules`` while words and pauses decide alone."""
        return self._detector.name if self._detector is not None else "rules"

    def take(self, detector: TurnDetector) -> None:
        """Ask ``detector`` from now on."""
        self._detector = detector

    async def completeness(self, samples: Samples) -> float | None:
        """What the detector says."""
        return await self._detector.completeness(samples) if self._detector is not None else None

    async def close(self) -> None:
        """Close the detector, if there is one."""
        if self._detector is not None:
            await self._detector.close()


async def build(site: Site, found: Found) -> Built[SmartTurn]:
    """On ``found`` (see :data:`pipelines.engines.registry.Build`)."""
    return Built(await site.aside(SmartTurn, found.place, threads=min(2, site.cores)))
