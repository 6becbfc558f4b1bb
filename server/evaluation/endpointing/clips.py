"""Utterances to be listened to: recordings and synthetic speech, through Opus, with silence around them."""

from __future__ import annotations

import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from media.opus import FRAME, RATE, OpusDecoder, OpusEncoder, OpusSettings
from media.resample import Resampler
from pipelines.interfaces.tts import TextToSpeech
from pipelines.interfaces.vad import VAD_RATE
from server.evaluation.endpointing.sentences import PAUSED, PAUSES_MS, WHOLE
from server.evaluation.playing.utterances import speech
from server.evaluation.scenario import User

LEAD_SECONDS, TRAIL_SECONDS = 0.5, 3.0
NOISE = 10 ** (-66 / 20)
"""The microphone's own noise; full scale is 1."""
_VOICE = OpusSettings(application="voip", bitrate=32_000, fec=False, expected_loss_percent=0)
SPEECH_ENDS = {"jfk48.wav": 10.45}
"""Seconds, where a known recording goes on after its last word: here with the audience."""
PEOPLE = "people"
LONGEST_SECONDS = 20.0
"""Longer recordings are many utterances, of which nobody knows where each ends."""


@dataclass(frozen=True, eq=False)
class Clip:
    """One utterance with silence around it."""

    name: str
    samples: Samples
    """16 kHz."""
    pauses: tuple[tuple[float, float], ...]
    """Begin and end in seconds, of those within the utterance."""
    end: float
    """Where the speech ends, in seconds."""
    sound_end: float
    """Where its last sound has died away."""
    source: str = PEOPLE
    """Who speaks: people, or an engine's name."""


def prepare(name: str, speech: NDArray[np.float64], until: float | None = None, source: str = PEOPLE) -> Clip:
    """Silence and noise around ``speech`` (48 kHz), through Opus; what comes after ``until`` seconds is no speech."""
    speech = speech / np.abs(speech).max() * 0.7
    fade = np.linspace(0, 1, RATE // 100)
    speech[: len(fade)] *= fade
    speech[-len(fade) :] *= fade[::-1]
    padded = np.concatenate([np.zeros(int(LEAD_SECONDS * RATE)), speech, np.zeros(int(TRAIL_SECONDS * RATE))])
    heard = _through_opus(padded + np.random.default_rng(1).normal(0, NOISE, len(padded)))
    frames = heard[: len(heard) // 160 * 160].reshape(-1, 160).astype(np.float64)
    level = np.sqrt((frames**2).mean(1))[: None if until is None else int((LEAD_SECONDS + until) * 100)]
    on, sounding = (np.flatnonzero(level > share * level.max()) for share in (0.06, 0.015))
    gaps = [(a / 100, b / 100) for a, b in zip(on[:-1] + 1, on[1:], strict=True) if b - a >= 10]
    return Clip(name, heard, tuple(gaps), (int(on[-1]) + 1) / 100, (int(sounding[-1]) + 1) / 100, source)


def recordings(folder: Path) -> Iterator[Clip]:
    """Every WAV of ``folder`` that is one utterance; of the known one also its last clause."""
    for path in sorted(folder.glob("*.wav")):
        sound = load(path)
        if len(sound) <= LONGEST_SECONDS * RATE:
            yield prepare(path.name, sound, SPEECH_ENDS.get(path.name))
    if (bench := folder / "jfk48.wav").exists():
        yield prepare("jfk48.wav 8.1-10.45", load(bench)[int(8.1 * RATE) : int(10.45 * RATE)])


async def sentences(voice: TextToSpeech, names: Sequence[str]) -> list[Clip]:
    """The sentences, spoken by the voices ``names`` of an engine in turn."""
    clips = list[Clip]()
    for number, text in enumerate((*PAUSED, *WHOLE)):
        user = User().model_copy(update={"voice": names[number % len(names)]})
        sound = await speech(voice, text, user, PAUSES_MS[number % len(PAUSES_MS)])
        clips.append(prepare(text, sound / 32768, source=voice.name))
    return clips


def load(path: Path) -> NDArray[np.float64]:
    """A WAV as 48 kHz mono, full scale 1."""
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        data = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())
    sound = data.mean(1) / 32768
    places = np.arange(int(len(sound) * RATE / rate)) * rate / RATE
    return np.asarray(np.interp(places, np.arange(len(sound)), sound), np.float64)


def _through_opus(sound: NDArray[np.float64]) -> Samples:
    encoder, decoder, resampler = OpusEncoder(_VOICE), OpusDecoder(), Resampler(VAD_RATE)
    pcm, parts = np.clip(sound * 32767, -32767, 32767).astype(np.int16), []
    for number, start in enumerate(range(0, len(pcm) - FRAME + 1, FRAME)):
        packet = encoder.encode(pcm[start : start + FRAME], number)
        parts.append(resampler.push(decoder.decode(bytes(packet)), RATE))
    return np.concatenate(parts)
