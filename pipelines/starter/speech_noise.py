"""What happens to speech between a mouth and a recogniser: rooms, noise, telephones, Opus. Pure but for the codec."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from media.opus_copy import through_opus
from pipelines.ports import VAD_RATE

Sound = NDArray[np.float32]
"""Mono, 16 kHz, within ±1, shape ``(n,)``."""
_BANK_SECONDS = 40
_PEAK = 0.98


def roughened(sound: Sound, rng: Random, others: list[Sound] | None = None) -> Sound:
    """``sound`` as a microphone might give it; ``others`` speak in the background."""
    rough = sound
    if rng.random() < 0.1:
        rough = reverberant(rough, rng)
    if rng.random() < 0.12:
        rough = filtered(rough, rng)
    peak = float(np.abs(rough).max(initial=1e-4))
    rough = rough * (10 ** rng.uniform(-1.5, -0.05) / peak)
    if rng.random() < 0.45:
        kind = rng.choice(list(_NOISES))
        if kind == "babble" and others:
            noise = babble(others, len(rough), rng)
        else:
            noise = _crop(bank(kind if kind != "babble" else "pink"), len(rough), rng)
        rough = mixed(rough, noise, rng.uniform(6, 35))
    if rng.random() < 0.1:
        rough = opus(rough, rng.choice([12_000, 16_000, 20_000, 24_000, 32_000]))
    return rough


def mixed(sound: Sound, noise: Sound, decibels: float) -> Sound:
    """Noise added at a signal-to-noise ratio, measured where the sound is loud."""
    loud = sound[np.abs(sound) >= 0.1 * np.abs(sound).max(initial=0.0)]
    power = float(np.mean(np.square(loud))) / 2 if len(loud) else 0.0
    noise_power = float(np.mean(np.square(noise))) + 1e-12
    return limited(sound + noise * np.float32((power / noise_power / 10 ** (decibels / 10)) ** 0.5))


def limited(sound: Sound) -> Sound:
    """Brought down where it is louder than can be written."""
    peak = float(np.abs(sound).max(initial=0.0))
    return (sound * np.float32(_PEAK / peak) if peak > _PEAK else sound).astype(np.float32)


def opus(sound: Sound, bitrate: int) -> Sound:
    """Through the codec of WebRTC and back."""
    return through_opus(as_samples(sound), VAD_RATE, bitrate).astype(np.float32) / np.float32(32768)


def as_samples(sound: Sound) -> Samples:
    """As int16."""
    samples: Samples = np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)
    return samples


def reverberant(sound: Sound, rng: Random) -> Sound:
    """In a small room."""
    seconds = rng.uniform(0.05, 0.25)
    length = int(seconds * VAD_RATE)
    random = np.random.default_rng(rng.getrandbits(32))
    tail = random.standard_normal(length, np.float32) * np.exp(-5 * np.arange(length) / length).astype(np.float32)
    tail *= np.float32(rng.uniform(0.1, 0.5) / np.sqrt(np.sum(tail**2)))
    tail[: int(0.002 * VAD_RATE)] = 0
    tail[0] = 1
    return limited(_convolved(sound, tail))


def filtered(sound: Sound, rng: Random) -> Sound:
    """Through a telephone, a thin loudspeaker or a blanket: its spectrum is tilted and its ends are cut."""
    spectrum = np.fft.rfft(sound)
    hertz = np.fft.rfftfreq(len(sound), 1 / VAD_RATE)
    low, high = rng.choice([(0, 8000), (100, 8000), (300, 3400), (200, 6000), (0, 5000)])
    tilt = (np.maximum(hertz, 50) / 1000) ** rng.uniform(-0.5, 0.5)
    window = 1 / (1 + (low / np.maximum(hertz, 1)) ** 8) / (1 + (hertz / high) ** 16)
    return limited(np.fft.irfft(spectrum * tilt * window, len(sound)).astype(np.float32))


def babble(others: list[Sound], length: int, rng: Random) -> Sound:
    """Some people at once."""
    heard = np.zeros(length, np.float32)
    for sound in rng.sample(others, min(len(others), rng.randint(2, 5))):
        heard += np.resize(sound, length)
    return heard


def _convolved(sound: Sound, tail: Sound) -> Sound:
    size = 1 << (len(sound) + len(tail) - 1).bit_length()
    full = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)
    heard: Sound = full[: len(sound)].astype(np.float32)
    return heard


def _crop(bank: Sound, length: int, rng: Random) -> Sound:
    if length >= len(bank):
        return np.resize(bank, length)
    start = rng.randrange(len(bank) - length)
    return bank[start : start + length]


# ------------------------------------------------------------------------------------------------- noises


@cache
def bank(kind: str) -> Sound:
    """Much noise of a kind of :data:`_NOISES`: always the same."""
    random = np.random.default_rng(list(_NOISES).index(kind))
    noise = _NOISES[kind](random, _BANK_SECONDS * VAD_RATE)
    loud: Sound = (noise / np.abs(noise).max() * 0.9).astype(np.float32)
    return loud


def _coloured(power: float) -> Callable[[Any, int], Any]:
    def noise(random: Any, length: int) -> Any:
        spectrum = np.fft.rfft(random.standard_normal(length))
        hertz = np.maximum(np.fft.rfftfreq(length, 1 / VAD_RATE), 20)
        return np.fft.irfft(spectrum * hertz**power, length)

    return noise


def _hum(random: Any, length: int) -> Any:
    t = np.arange(length) / VAD_RATE
    hum = sum(np.sin(2 * np.pi * 50 * k * t + k) / k for k in (1, 2, 3, 4, 6, 8))
    return hum + 0.1 * random.standard_normal(length)


def _clicks(random: Any, length: int) -> Any:
    """Keys and crockery."""
    noise = 0.01 * random.standard_normal(length)
    for start in random.integers(0, length - 1600, 160):
        size = int(random.integers(80, 1600))
        burst = random.standard_normal(size) * np.exp(-6 * np.arange(size) / size) * random.uniform(0.2, 1)
        noise[start : start + size] += burst
    return noise


_NOISES: dict[str, Callable[[Any, int], Any]] = {
    "white": _coloured(0.0),
    "pink": _coloured(-0.5),
    "brown": _coloured(-1.0),
    "hum": _hum,
    "clicks": _clicks,
    "babble": _coloured(-0.7),
}
