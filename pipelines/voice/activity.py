"""Voice activity that outlives its model: begun anew when it fails, and judged by loudness where that does not help."""

from __future__ import annotations

import logging
from collections.abc import Callable

from media.frames import Samples, rms
from pipelines.errors import ListenError
from pipelines.ports import SpeechProbability, VoiceActivity

log = logging.getLogger(__name__)

LOUD = 400.0
"""RMS of 16-bit samples (-38 dB of full scale) that is taken for a voice where no model judges."""
REST_WINDOWS = 94
"""Windows (3 s) that are judged by loudness before the model is tried once more."""


class LastingActivity:
    """One session's :class:`~pipelines.ports.VoiceActivity`, whatever its model raises; ``tell`` is told once."""

    def __init__(self, model: SpeechProbability, tell: Callable[[ListenError], None]) -> None:
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
        self._tell(ListenError("vad_failed", f"{self._model.name} failed; loudness decides for a while"))
