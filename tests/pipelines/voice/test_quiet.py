"""Windows that cannot hold a voice are not judged, and nothing of a voice is missed for it."""

from __future__ import annotations

import numpy as np

from media.frames import rms
from pipelines.engines.vad.silero import SileroVad
from pipelines.interfaces.vad import VAD_WINDOW
from pipelines.voice.vad import QuietSkipped
from tests.assets import speech_16k

NOISE = np.random.default_rng(1).normal(0, 8, VAD_WINDOW).astype(np.int16)
LOUD = np.full(VAD_WINDOW, 900, np.int16)


class Remembering:
    """A model that notes what it was given."""

    def __init__(self, probability: float = 0.0) -> None:
        self.given: list[np.ndarray] = []
        self.answer = probability

    def probability(self, window: np.ndarray) -> float:
        self.given.append(window)
        return self.answer

    def reset(self) -> None:
        self.given.clear()


def test_long_quiet_is_skipped_and_its_end_given_before_the_next_sound():
    model = Remembering()
    activity = QuietSkipped(model)
    for _ in range(100):
        assert activity.probability(NOISE, rms(NOISE)) == 0.0
    assert len(model.given) == QuietSkipped.HANGOVER
    activity.probability(LOUD, rms(LOUD))
    assert len(model.given) == QuietSkipped.HANGOVER + QuietSkipped.LEAD + 1
    assert model.given[-1] is LOUD


def test_a_soft_voice_is_never_skipped():
    model = Remembering(0.3)
    activity = QuietSkipped(model)
    assert [activity.probability(NOISE, rms(NOISE)) for _ in range(100)] == [0.3] * 100


def test_speech_after_a_minute_of_quiet_is_found_in_the_same_window():
    speech = speech_16k("audio/LJ001-0004.wav")
    minute = np.random.default_rng(2).normal(0, 8, 60 * 16_000).astype(np.int16)
    audio = np.concatenate([minute, speech])
    windows = audio[: len(audio) // VAD_WINDOW * VAD_WINDOW].reshape(-1, VAD_WINDOW)
    plain, frugal = SileroVad().open(), QuietSkipped(SileroVad().open())
    first = [
        next(n for n, w in enumerate(windows) if plain.probability(w) >= 0.5),
        next(n for n, w in enumerate(windows) if frugal.probability(w, rms(w)) >= 0.5),
    ]
    assert first[0] == first[1]
    assert first[0] * VAD_WINDOW >= len(minute) - VAD_WINDOW
