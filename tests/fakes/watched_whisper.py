"""A real Whisper that remembers what it was asked, and can be held or broken in the middle of it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np

from media.frames import Samples
from pipelines.engines.stt.whisper import WhisperRecognizer
from pipelines.engines.stt.whisper_model import Whisper
from pipelines.engines.stt.whisper_utterance import WhisperRecognition
from pipelines.engines.stt.whisper_windows import Guard, Said
from pipelines.interfaces.stt import Transcript
from pipelines.interfaces.vad import VAD_RATE


class WatchedWhisper:
    """Passes everything on to ``whisper``."""

    def __init__(self, whisper: Whisper) -> None:
        self._whisper = whisper
        self.encoded: list[tuple[int, int]] = []
        """Of each run of the encoder: windows, frames."""
        self.generated: list[list[str]] = []
        """Of each run of the decoder: the languages of its windows."""
        self.previous: list[list[tuple[int, ...]]] = []
        """Of each run of the decoder: the tokens before its windows."""
        self.said: list[list[Said]] = []
        """Of each run of the decoder: its results."""
        self.limits: list[dict[str, Any]] = []
        """Of each run of the decoder: how long the text may be, and whether it may repeat itself."""
        self.detections = 0
        self.gate = threading.Event()
        """The encoder waits for it."""
        self.gate.set()
        self.begun = threading.Semaphore(0)
        """Released when the encoder begins."""
        self.error: Exception | None = None
        """Raised by the encoder, once."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whisper, name)

    def encode(self, spectrograms: Any) -> Any:
        self.encoded.append((spectrograms.shape[0], spectrograms.shape[2]))
        self.begun.release()
        self.gate.wait()
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return self._whisper.encode(spectrograms)

    def detect(self, encoded: Any) -> list[str]:
        self.detections += 1
        return self._whisper.detect(encoded)

    def generate(self, encoded: Any, task: str, languages: Any, previous: Any, **limits: Any) -> Any:
        self.generated.append(list(languages))
        self.previous.append([tuple(tokens) for tokens in previous])
        self.limits.append(limits)
        self.said.append(self._whisper.generate(encoded, task, languages, previous, **limits))
        return self.said[-1]


class Credulous(Guard):
    """Believes everything, also what is said twice."""

    def repeats(self, said: Said) -> bool:
        return False


BELIEVE = Credulous(least_logprob=-1000.0)
"""Random weights are sure of nothing."""


def noise(seconds: float, seed: int = 1) -> Samples:
    return np.random.default_rng(seed).normal(0, 3000, int(seconds * VAD_RATE)).astype(np.int16)


async def heard(engine: WhisperRecognizer, samples: Samples) -> Transcript:
    recognition = await engine.open()
    try:
        await recognition.feed(samples)
        return await recognition.transcript()
    finally:
        await recognition.close()


async def idle(recognition: WhisperRecognition) -> None:
    """Wait for the decoding that runs beside the user's speech."""
    while recognition._running is not None:
        await asyncio.wait([recognition._running])


async def begun(watched: WatchedWhisper) -> None:
    """Wait until the encoder has been started once more."""
    await asyncio.to_thread(watched.begun.acquire)
