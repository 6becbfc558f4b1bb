"""Voice-activity probabilities → speech that starts and pauses. Pure: media time in, events out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VoiceStarted:
    """Someone speaks since media time ``time`` (seconds)."""

    time: float


@dataclass(frozen=True, slots=True)
class VoicePaused:
    """Nobody has spoken since media time ``time`` (seconds)."""

    time: float


Voice = VoiceStarted | VoicePaused


@dataclass(frozen=True, slots=True)
class SegmenterSettings:
    """Hysteresis, as in Silero's own iterator: it takes more to start than to go on."""

    start_threshold: float = 0.5
    """Probability from which a window counts as voice."""
    stop_threshold: float = 0.35
    """Probability below which a window of running speech counts as silence."""
    start_seconds: float = 0.09
    """Voice must last this long to be believed: a click or a key press does not."""
    pause_seconds: float = 0.06
    """Silence must last this long to be believed: a stop consonant does not."""


class Segmenter:
    """One session's segmenter."""

    def __init__(self, settings: SegmenterSettings | None = None) -> None:
        self.settings = settings or SegmenterSettings()
        self.speaking = False
        self._changed_at: float | None = None

    def process(self, probability: float, start: float, end: float) -> Voice | None:
        """Take the probability (0–1) of the window from ``start`` to ``end`` (media seconds)."""
        settings = self.settings
        voiced = probability >= (settings.stop_threshold if self.speaking else settings.start_threshold)
        if voiced == self.speaking:
            self._changed_at = None
            return None
        if self._changed_at is None:
            self._changed_at = start
        needed = settings.pause_seconds if self.speaking else settings.start_seconds
        if end - self._changed_at < needed - 1e-6:
            return None
        since, self._changed_at = self._changed_at, None
        self.speaking = voiced
        return VoiceStarted(since) if voiced else VoicePaused(since)
