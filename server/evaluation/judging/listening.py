"""The client's own recogniser: what is heard in the sound that came back, whatever the server says that it said.

Whisper with the weights of the package index, if they are on this machine; else PocketSphinx, which hears some four of
five words. The name says which, and whether the server under test has the same one.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np

from media.frames import Samples
from media.opus import RATE
from media.resample import Resampler
from pipelines.engines.stt.pocketsphinx_recognizer import PocketSphinxRecognizer
from pipelines.engines.stt.whisper import WhisperRecognizer
from pipelines.engines.stt.whisper_model import load_whisper
from pipelines.engines.stt.whisper_settings import WhisperSettings
from pipelines.interfaces.stt import SpeechToText
from pipelines.interfaces.vad import VAD_RATE
from pipelines.models.residency import Kept
from pipelines.models.store import ModelStore
from server.evaluation.judging.acoustics import AUDIBLE
from server.evaluation.judging.observed import Observed
from server.evaluation.scenario import Scenario

MODELS = ("whisper-base", "whisper-small.en", "whisper-base.en")
LONGEST_SECONDS = 28.0
"""Of sound that is listened to at once."""
_MARGIN = 0.2


class Hearer:
    """A recogniser and its name. Close it."""

    def __init__(self, recognizer: SpeechToText, name: str) -> None:
        self.name = name
        self._recognizer = recognizer

    async def words(self, sound: Samples) -> str:
        """What is said in ``sound`` (48 kHz)."""
        narrow = Resampler(VAD_RATE).push(sound, RATE)
        loud = np.flatnonzero(np.abs(narrow.astype(np.int32)) > AUDIBLE)
        if not len(loud):
            return ""
        edge = int(_MARGIN * VAD_RATE)
        narrow = narrow[max(0, loud[0] - edge) : loud[-1] + edge]
        step, told = int(LONGEST_SECONDS * VAD_RATE), []
        for start in range(0, len(narrow), step):
            recognition = await self._recognizer.open()
            try:
                await recognition.feed(narrow[start : start + step])
                told.append((await recognition.transcript()).text)
            finally:
                await recognition.close()
        return " ".join(told).strip()

    async def close(self) -> None:
        """End the recogniser."""
        await self._recognizer.close()


def hearer(store: ModelStore, tested: str = "") -> Hearer:
    """The best that is on this machine; ``tested`` is the recogniser of the server under test. Blocking: a second."""
    for model in MODELS:
        if (files := store.find(model)) is not None:
            whisper = load_whisper(files.path, "cpu", threads=1)
            recognizer: SpeechToText = WhisperRecognizer(Kept("ear", whisper), WhisperSettings(partial_seconds=0.0))
            name = f"{model} (faster-whisper {version('faster-whisper')})"
            same = model in tested
            break
    else:
        recognizer = PocketSphinxRecognizer(1)
        name, same = f"pocketsphinx {version('pocketsphinx')}", "pocketsphinx" in tested
    return Hearer(recognizer, f"{name}, which is also the engine under test" if same else name)


def wants_hearing(scenario: Scenario) -> bool:
    """Whether something of it can be judged only by ear."""
    return any(turn.wants("spoken") or turn.wants("history") for turn in scenario.turns)


async def listen(scenario: Scenario, observed: Observed, ear: Hearer) -> None:
    """Put into ``observed`` what is heard of the turns that ask for it."""
    observed.hearer = ear.name
    for number, turn in enumerate(scenario.turns[: len(observed.spoken)]):
        said = observed.spoken[number]
        if said is None:
            continue
        if turn.wants("spoken"):
            sounds = observed.own_sounds(number)
            between = (sounds[0].start - 0.05, sounds[-1].end + 0.05) if sounds else (0.0, 0.0)
            observed.hearing[number] = await ear.words(observed.pieces.sound(*between))
        if turn.wants("history") and (since := _began(observed, number)) is not None:
            stopped = said.first + (observed.stop_ms(number) or 0.0) / 1000
            observed.heard_before[number] = await ear.words(observed.pieces.sound(since, stopped + 0.05))


def _began(observed: Observed, turn: int) -> float | None:
    """When the response that a turn interrupted began to sound."""
    name: Any = observed.interrupted(turn)
    started = [
        time
        for time, event in observed.events
        if event["type"] == "output_audio_buffer.started" and event.get("response_id") == name
    ]
    return started[-1] - 0.25 if name is not None and started else None
