"""Smart Turn v3: has the speaker finished? Judged from the sound of the last eight seconds.

Model: pipecat-ai/smart-turn v3.2 (BSD-2-Clause), a Whisper-tiny encoder with a classification head. Input: log-mel
features of 8 s at 16 kHz, zero-padded at the front, normalised to zero mean and unit variance. Output: the probability
that the turn is complete. 30–60 ms per call on one core, 16 ms of it for the features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from pipelines.errors import ListenError
from pipelines.ports import VAD_RATE
from pipelines.worker import Worker

_SECONDS = 8
_MEL_BANDS = 80
_FRAMES = 800


class SmartTurn:
    """Implements :class:`~pipelines.ports.TurnDetector` on an own thread; sessions share it.

    Raises :class:`ListenError` (``turn_model_broken``) when ``path`` is no such model.
    """

    name = "smart-turn-v3.2"

    def __init__(self, path: Path) -> None:
        import onnxruntime
        from faster_whisper.feature_extractor import FeatureExtractor

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ListenError("turn_model_broken", f"{path.name} is no usable ONNX model: {error}") from error
        self._features: Any = FeatureExtractor(feature_size=_MEL_BANDS, chunk_length=_SECONDS)
        self._worker = Worker("turn", inbox=32)

    async def completeness(self, samples: Samples) -> float:
        """Chance in 0–1 that the turn held by ``samples`` (16 kHz; the last 8 s count) is finished."""
        return await self._worker.run(self._judge, samples)

    async def close(self) -> None:
        """End the thread. Idempotent."""
        self._worker.close()

    def _judge(self, samples: Samples) -> float:
        features = self._features(_window(samples), padding=0)
        features = _fit(np.asarray(features, np.float32))
        (probability,) = self._session.run(None, {"input_features": features[None]})
        return float(np.ravel(probability)[0])


def _window(samples: Samples) -> NDArray[np.float32]:
    """The last 8 s, padded at the front, zero mean and unit variance; shape ``(128000,)``."""
    wanted = _SECONDS * VAD_RATE
    audio = samples[-wanted:].astype(np.float32) / 32768.0
    audio = np.pad(audio, (wanted - len(audio), 0))
    return np.asarray((audio - audio.mean()) / np.sqrt(audio.var() + 1e-7), np.float32)


def _fit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Exactly 800 frames of 10 ms."""
    missing = _FRAMES - features.shape[1]
    return np.pad(features, ((0, 0), (0, missing))) if missing > 0 else features[:, :_FRAMES]
