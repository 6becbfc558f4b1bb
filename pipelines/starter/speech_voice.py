"""Speech of many voices with the times of its words and phonemes: espeak-ng, straight from the library.

The engine :mod:`pipelines.engines.espeak` speaks with eight voices. Here any of espeak's accents is combined with any
of its voice variants, pace and pitch, and the phoneme events are read as well.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from media.frames import Samples
from pipelines.engines.espeak import CALLBACK, TURN, load_library
from pipelines.ports import VAD_RATE

ACCENTS = {
    "en-us": 10, "en": 4, "en-gb-x-rp": 2, "en-gb-scotland": 1.5, "en-us-nyc": 1, "en-029": 0.4, "en-gb-x-gbclan": 0.5,
    "en-gb-x-gbcwmd": 0.5,
}  # fmt: skip
"""espeak's voices of English, and how often they are trained with."""
HELD_OUT = ("linda", "Mike", "m5", "f5", "Andrea", "benjamin", "steph2", "edward", "victor", "klatt3")
"""Variants that training never hears."""
_UNLIKE_PEOPLE = {
    "Demonic", "UniRobot", "anikaRobot", "Tweaky", "croak", "whisper", "whisperf", "fast", "AnxiousAndy", "Storm",
    "robosoft", *(f"robosoft{n}" for n in range(2, 9)),
}  # fmt: skip
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_WORD, _PHONEME = 1, 7
_LIST_TERMINATED = 0
_BLOCK = 128


@dataclass(frozen=True, slots=True)
class Manner:
    """How a sentence is spoken."""

    voice: str
    """``accent`` or ``accent+variant``."""
    pace: int = 175
    """Words per minute."""
    pitch: int = 50
    """0–100."""
    range: int = 50
    """How lively, 0–100."""
    factor: float = 1.0
    """Faster and higher by this much."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence as sound."""

    samples: Samples
    """16 kHz, shape ``(n,)``."""
    words: tuple[tuple[float, float], ...]
    """Seconds at which each word between white space begins and ends; a pause belongs to the word before it."""
    phonemes: tuple[tuple[float, str], ...]
    """Where each begins, in seconds; without stress, silence as ``_``."""


@cache
def variants() -> tuple[str, ...]:
    """espeak's voice variants that sound like people and are not :data:`HELD_OUT`, sorted."""
    import espeakng_loader

    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    found = {path.name for path in folder.iterdir()} - _UNLIKE_PEOPLE - set(HELD_OUT)
    return tuple(sorted(found))


def any_manner(rng: Random) -> Manner:
    """One of training's."""
    accent = rng.choices(list(ACCENTS), list(ACCENTS.values()))[0]
    voice = accent if rng.random() < 0.15 else f"{accent}+{rng.choice(variants())}"
    plain = rng.random() < 0.3
    return Manner(
        voice,
        pace=175 if plain else round(min(260, max(110, rng.gauss(175, 32)))),
        pitch=50 if plain else rng.randint(25, 78),
        range=50 if plain else rng.randint(20, 80),
        factor=1.0 if plain else rng.uniform(0.9, 1.12),
    )


def speak(text: str, manner: Manner) -> Spoken:
    """``text`` aloud. Raises :class:`~pipelines.errors.SpeakError` when espeak is missing; ``ValueError``: no voice."""
    with TURN:
        blocks, events = _synthesize(text, manner)
    samples, rate = _resampled(np.frombuffer(blocks, np.int16), load_library().rate * manner.factor)
    seconds = len(samples) / VAD_RATE
    words = _words(text, [(place, at / rate) for kind, place, at, _ in events if kind == _WORD], seconds)
    phonemes = tuple((at / rate, _bare(name)) for kind, _, at, name in events if kind == _PHONEME)
    return Spoken(samples, words, phonemes)


def _synthesize(text: str, manner: Manner) -> tuple[bytes, list[tuple[int, int, int, str]]]:
    """Samples, and events: kind, place in the text, sample, name."""
    blocks: list[bytes] = []
    events: list[tuple[int, int, int, str]] = []

    def take(samples: int | None, count: int, found: Any) -> int:
        if samples and count:
            blocks.append(ctypes.string_at(samples, 2 * count))
        n = 0
        while (event := found[n]).type != _LIST_TERMINATED:
            if event.type in (_WORD, _PHONEME):
                name = bytes(event.id).decode("latin-1") if event.type == _PHONEME else ""
                events.append((event.type, event.text_position - 1, event.sample, name))
            n += 1
        return 0

    espeak = load_library().functions
    callback = CALLBACK(take)
    espeak.espeak_SetSynthCallback(callback)
    if espeak.espeak_SetVoiceByName(manner.voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {manner.voice}")
    for parameter, value in ((_RATE, manner.pace), (_VOLUME, 70), (_PITCH, manner.pitch), (_RANGE, manner.range)):
        espeak.espeak_SetParameter(parameter, value, 0)
    utf8 = text.encode()
    espeak.espeak_Synth(utf8, len(utf8) + 1, 0, 1, 0, 1, None, None)
    for parameter in (_PITCH, _RANGE):  # the engine does not set them
        espeak.espeak_SetParameter(parameter, 50, 0)
    return b"".join(blocks), events


def _resampled(sound: Samples, rate: float) -> tuple[Samples, float]:
    """``sound`` at 16 kHz, and its exact rate: close to the one wanted, so that the lengths suit the transform.

    Much faster than a filter that must be designed for each rate.
    """
    blocks = -(-len(sound) // _BLOCK)
    if not blocks:
        return sound, rate
    before, after = blocks * _BLOCK, round(blocks * VAD_RATE / rate) * _BLOCK
    spectrum = np.fft.rfft(np.pad(sound, (0, before - len(sound))).astype(np.float32))
    narrow = np.fft.irfft(spectrum, after) * (after / before)
    return np.clip(np.round(narrow), -32768, 32767).astype(np.int16), VAD_RATE * before / after


def _words(text: str, marks: list[tuple[int, float]], seconds: float) -> tuple[tuple[float, float], ...]:
    """Where each word begins and ends; those that espeak speaks as one with the word before share its time."""
    places, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        places.append(at)
        at += len(word)
    starts: list[float | None] = []
    for n, place in enumerate(places):
        end = places[n + 1] if n + 1 < len(places) else len(text)
        starts.append(next((when for where, when in marks if place <= where < end), None))
    if starts and starts[0] is None:
        starts[0] = 0.0
    known = [n for n, start in enumerate(starts) if start is not None]
    times: list[float] = []
    for a, b in zip(known, [*known[1:], len(starts)], strict=True):
        begin = float(starts[a] or 0.0)
        end_ = float(starts[b] or 0.0) if b < len(starts) else seconds
        letters = [len(word) for word in text.split()[a:b]]
        times += [begin + (end_ - begin) * sum(letters[:n]) / sum(letters) for n in range(len(letters))]
    return tuple(zip(times, [*times[1:], seconds], strict=True))


def _bare(name: str) -> str:
    name = name.rstrip("\0").lstrip("',%=")
    return "_" if name.startswith("_") or not name else name
