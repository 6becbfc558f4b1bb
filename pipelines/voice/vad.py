"""Voice-activity probabilities → speech that starts and pauses. Pure: media time in, events out.

The model alone is not enough at the end of a sentence. It goes on for up to 100 ms after the sound has ended, and it
lets go of a trailing syllable that is still audible. So the loudness takes part: a pause begins where the sound has
fallen to the level of the background, and a sound above the background keeps a turn alive. Once the turn is over such
a sound is nothing any more: only voice begins a turn (:meth:`Segmenter.forget_tail`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from media.frames import Samples, rms
from pipelines.errors import STTError
from pipelines.interfaces.vad import SpeechProbability, VoiceActivity

log = logging.getLogger(__name__)

LOUD = 400.0
"""RMS of 16-bit samples (-38 dB of full scale) that is taken for a voice where no model judges."""
REST_WINDOWS = 94
"""Windows (3 s) that are judged by loudness before the model is tried once more."""


class LastingActivity:
    """One session's voice activity, whatever its model raises; ``tell`` is told once."""

    def __init__(self, model: SpeechProbability, tell: Callable[[STTError], None]) -> None:
        self._model = model
        self._tell = tell
        self._activity: VoiceActivity | None = None
        self._told = False
        self._rest = 0
        """Windows until the model is tried again."""

    def probability(self, window: Samples) -> float:
        """Chance in 0–1 that ``window`` holds speech: the model's, or 0 or 1 by loudness."""
        try:
            if self._activity is not None:
                return self._activity.probability(window)
        except Exception as error:  # noqa: BLE001 - the barrier around the model: told with its traceback, and survived
            self._failed(error)
        if self._rest:
            self._rest -= 1
            return float(rms(window) >= LOUD)
        try:
            activity = self._model.open()
            probability = activity.probability(window)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)
            self._rest = REST_WINDOWS
            return float(rms(window) >= LOUD)
        self._activity = activity
        return probability

    def reset(self) -> None:
        """Forget the past, as after a gap in the audio."""
        self._activity = None

    def _failed(self, error: Exception) -> None:
        self._activity = None
        if self._told:
            return
        self._told = True
        log.error("%s failed", self._model.name, exc_info=error)
        self._tell(STTError("vad_failed", f"{self._model.name} failed; loudness decides for a while"))


@dataclass(frozen=True, slots=True)
class VoiceStarted:
    """Someone speaks since media time ``time`` (seconds)."""

    time: float


@dataclass(frozen=True, slots=True)
class VoicePaused:
    """Nobody has spoken since media time ``time`` (seconds)."""

    time: float


Voice = VoiceStarted | VoicePaused

VOICE_SIGN = 0.04
"""Probability below which there is nothing of a voice in a window, not even its tail."""


@dataclass(frozen=True, slots=True)
class SegmenterSettings:
    """Hysteresis, as in Silero's own iterator: it takes more to start than to go on."""

    start_threshold: float = 0.5
    """Probability from which a window counts as voice."""
    stop_threshold: float = 0.35
    """Probability below which a window of running speech counts as silence."""
    start_seconds: float = 0.09
    """Voice must last this long to be believed: a click or a key press does not."""
    resume_seconds: float = 0.03
    """The same in a pause of a turn: one window is enough there, for a turn cut short is worse than one held open."""
    pause_seconds: float = 0.06
    """Silence must last this long to be believed: a stop consonant does not. It counts from where the sound became
    quiet, even if the model let go later; without its consent no quiet is a pause."""
    tail_threshold: float = VOICE_SIGN
    """Probability from which a sound above the background still belongs to the speech before it."""
    tail_seconds: float = 0.5
    """How long after the last voice that is so."""
    above_background: float = 2.0
    """How much louder than the background (RMS) such a sound is."""
    quiet_below_peak: float = 0.1
    """What is not louder than this share of the loudest speech of the turn, nor than the background, is silence."""


_NEVER = float("-inf")


class Background:
    """The level of the background: the quietest of the last few seconds (minimum statistics, Martin 2001)."""

    _BLOCK = 16
    _BLOCKS = 6
    _LOWEST = 20.0
    """RMS of 16-bit samples below which nothing matters."""

    def __init__(self) -> None:
        self._minima: deque[float] = deque(maxlen=self._BLOCKS)
        self._block: list[float] = []

    @property
    def level(self) -> float:
        """RMS of the background; the lowest when nothing is known yet."""
        return max(self._LOWEST, min([*self._minima, *self._block], default=self._LOWEST))

    def add(self, level: float) -> None:
        """The RMS of the next window."""
        self._block.append(level)
        if len(self._block) == self._BLOCK:
            self._minima.append(min(self._block))
            self._block.clear()


class Segmenter:
    """One session's segmenter."""

    def __init__(self, settings: SegmenterSettings | None = None) -> None:
        self.settings = settings or SegmenterSettings()
        self.speaking = False
        self._background = Background()
        self._voiced_since: float | None = None
        self._silent_since: float | None = None
        self._quiet_since: float | None = None
        self._peak = 0.0
        self._last_voice = _NEVER

    def process(self, probability: float, level: float, start: float, end: float) -> Voice | None:
        """Take the window from ``start`` to ``end`` (media seconds): probability of voice in 0–1, and its RMS."""
        settings = self.settings
        loud = level >= self._background.level * settings.above_background
        self._background.add(level)
        self._peak = max(level, self._peak) if self.speaking else 0.0
        if loud or level > settings.quiet_below_peak * self._peak:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = start
        tail = loud and probability >= settings.tail_threshold and start - self._last_voice < settings.tail_seconds
        if not self.speaking:
            return self._maybe_start(probability, tail, start, end)
        return self._maybe_pause(probability, tail, start, end)

    def forget_tail(self) -> None:
        """The turn is over: from now on only voice starts anything, not what merely sounds like its tail."""
        if not self.speaking:
            self._last_voice, self._voiced_since = _NEVER, None

    def _maybe_start(self, probability: float, tail: bool, start: float, end: float) -> Voice | None:
        if probability < self.settings.start_threshold and not tail:
            self._voiced_since = None
            return None
        if self._voiced_since is None:
            self._voiced_since = start
        if end - self._voiced_since < self._start_needed(probability) - 1e-6:
            return None
        self.speaking, self._silent_since = True, None
        if probability >= self.settings.start_threshold:  # a tail is no voice: it must not prolong itself
            self._last_voice = end
        return VoiceStarted(self._voiced_since)

    def _start_needed(self, probability: float) -> float:
        settings = self.settings
        if self._last_voice == _NEVER:
            return settings.start_seconds
        return settings.resume_seconds if probability >= settings.start_threshold else settings.pause_seconds

    def _maybe_pause(self, probability: float, tail: bool, start: float, end: float) -> Voice | None:
        voiced = probability >= self.settings.stop_threshold
        if voiced:
            self._last_voice = end
        if voiced or tail:
            self._silent_since = None
            return None
        if self._silent_since is None:
            self._silent_since = start
        since = self._silent_since if self._quiet_since is None else min(self._silent_since, self._quiet_since)
        if end - since < self.settings.pause_seconds - 1e-6:
            return None
        self.speaking, self._voiced_since, self._silent_since = False, None, None
        return VoicePaused(max(since, self._last_voice - 0.15))


class QuietSkipped:
    """A voice activity that is not asked about windows which cannot hold a voice.

    Noise suppression, a muted microphone and DTX leave minutes of near silence, and asking costs more than all else
    that is done with such a window. When the sound is back the model is first given the windows just before it: it
    judges a beginning by what came before.
    """

    QUIET = 26.0
    """RMS of 16-bit samples (-62 dB of full scale): a whisper across the room is louder."""
    HANGOVER = 16
    """Windows (0.5 s) after the last sign of voice that are judged however quiet they are."""
    LEAD = 4
    """Windows before the sound that the model is given first."""

    def __init__(self, activity: VoiceActivity) -> None:
        self._activity = activity
        self._skipped: deque[Samples] = deque(maxlen=self.LEAD)
        self._quiet_for = 0

    def probability(self, window: Samples, level: float) -> float:
        """Chance in 0–1 that ``window``, whose RMS is ``level``, holds speech; 0 for one that is skipped."""
        self._quiet_for = self._quiet_for + 1 if level < self.QUIET else 0
        if self._quiet_for > self.HANGOVER:
            self._skipped.append(window)
            return 0.0
        for before in self._skipped:
            self._activity.probability(before)
        self._skipped.clear()
        probability = self._activity.probability(window)
        if probability >= VOICE_SIGN:
            self._quiet_for = 0
        return probability

    def reset(self) -> None:
        """Forget the past, as after a gap in the audio."""
        self._skipped.clear()
        self._quiet_for = 0
        self._activity.reset()
