"""Voice activity: is there speech in this window?"""

from __future__ import annotations

from typing import Protocol

from media.frames import Samples

VAD_RATE = 16_000
"""Hertz: what voice activity detection and speech-to-text are fed with."""


VAD_WINDOW = 512
"""Samples per voice-activity window: 32 ms."""


class VoiceActivity(Protocol):
    """Voice activity of one session (it has memory: windows must be given in order)."""

    def probability(self, window: Samples) -> float:
        """Chance in 0–1 that ``window`` (exactly 512 samples at 16 kHz) holds speech. Fast enough for the loop."""
        ...

    def reset(self) -> None:
        """Forget the past, as after a gap in the audio."""
        ...


class SpeechProbability(Protocol):
    """A voice-activity model."""

    name: str

    def open(self) -> VoiceActivity:
        """A fresh state for one session."""
        ...
