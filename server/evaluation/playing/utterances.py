"""The sounds of a scenario's turns, made before the call: synthetic speech, recordings, coughs; and the room."""

from __future__ import annotations

import numpy as np

from media.frames import Samples
from media.opus import RATE
from media.resample import Resampler
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.interfaces.tts import TextToSpeech
from server.evaluation.judging.acoustics import AUDIBLE
from server.evaluation.materials import Materials, Wave
from server.evaluation.scenario import Scenario, User
from server.evaluation.steps import PAUSE_MARK, Turn

_USUAL_LEVEL = 3300.0
"""RMS of speech (-20 dB of full scale) where nobody speaks to measure the noise against."""


async def speech(voice: TextToSpeech, text: str, user: User, pause_ms: float = 0) -> Samples:
    """``text`` as the user says it, 48 kHz; ``...`` is a pause of exactly ``pause_ms`` of silence.

    What has pauses is spoken in one go and cut between its words: what is synthesised in parts would end each of them
    as sentences end, which people who pause to think do not.
    """
    parts = [part.split() for part in text.split(PAUSE_MARK)]
    resampler, pieces, starts = Resampler(RATE), list[Samples](), list[float]()
    async for piece in voice.synthesize(" ".join(word for part in parts for word in part), user.voice, user.rate):
        pieces.append(resampler.push(piece.samples, piece.rate))
        starts += [word.start for word in piece.words]
    whole = np.concatenate([*pieces, resampler.flush()]) if pieces else np.zeros(0, np.int16)
    places, number = [0], 0
    for part in parts[:-1]:
        number += len(part)
        places.append(int(starts[number] * RATE) if number < len(starts) else len(whole))
    spoken = [_trimmed(whole[a:b]) for a, b in zip(places, [*places[1:], len(whole)], strict=True)]
    pause = np.zeros(int(pause_ms * RATE / 1000), np.int16)
    return np.concatenate([spoken[0], *(one for part in spoken[1:] for one in (pause, part))])


def _trimmed(samples: Samples) -> Samples:
    """Without the silence before and after."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples


async def sounds_of(scenario: Scenario, materials: Materials) -> list[Samples | None]:
    """What is heard of each turn, 48 kHz; ``None`` for turns without a sound."""
    voice = EspeakVoice()
    try:
        return [await _sound(voice, turn, scenario.user, materials) for turn in scenario.turns]
    finally:
        await voice.close()


async def _sound(voice: EspeakVoice, turn: Turn, user: User, materials: Materials) -> Samples | None:
    if turn.words is not None:
        sound = await speech(voice, turn.words, user, turn.pause_ms)
    elif (name := turn.audio or turn.play) is not None:
        sound = materials.sound(name)
    else:
        return None
    return (sound * 10 ** (user.gain_db / 20)).clip(-32767, 32767).astype(np.int16)


def room_of(scenario: Scenario, materials: Materials, sounds: list[Samples | None]) -> Wave | None:
    """The noise behind the speaker, so much lower than the speech as the scenario says."""
    noise = scenario.user.noise
    if noise is None:
        return None
    levels = [
        _speech_level(sound)
        for turn, sound in zip(scenario.turns, sounds, strict=True)
        if turn.spoken and sound is not None and len(sound)
    ]
    speech_level = float(np.mean(levels)) if levels else _USUAL_LEVEL
    return materials.noise(noise.file) * (speech_level * 10 ** (-noise.snr_db / 20))


def _speech_level(samples: Samples) -> float:
    """RMS of what is voiced."""
    blocks = samples[: len(samples) // 480 * 480].reshape(-1, 480).astype(np.float64)
    levels = np.sqrt((blocks**2).mean(1))
    return float(np.sqrt((levels[levels > 0.06 * levels.max()] ** 2).mean())) if len(levels) else _USUAL_LEVEL
