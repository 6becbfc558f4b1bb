"""A real Whisper that remembers what it was asked, and can be held or broken in the middle of it."""

from __future__ import annotations

import threading
from typing import Any

from pipelines.engines.whisper_model import Whisper
from pipelines.engines.whisper_windows import Said


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
