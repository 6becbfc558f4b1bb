"""How loud a sound is (ITU-R BS.1770-4, EBU R 128), and filters on streams of samples at 48 kHz. Mono."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.tasks.audio.sounds import Wave

RATE = 48_000
SILENT = -70.0
"""LUFS: what is not louder does not count."""
PEAK = 10.0 ** (-1.0 / 20.0)
"""No sample is made louder than 1 dB below full scale."""
_RESPONSE = 1 << 15
"""Samples of an impulse response, after which those of the filters here are below -100 dB."""
_SHELF = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585))
_LOW_CUT = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
"""The K-weighting of BS.1770-4, tables 1 and 2: numerator and denominator at 48 kHz."""
_BLOCK, _STEP = 19_200, 4_800
"""400 ms, every 100 ms."""

Biquad = tuple[tuple[float, float, float], tuple[float, float, float]]


class Filter:
    """Biquads in a row on a stream: as many samples out as in, without delay."""

    def __init__(self, *biquads: Biquad) -> None:
        turns = np.exp(-2j * np.pi * np.arange(_RESPONSE // 2 + 1) / _RESPONSE)
        whole = np.ones_like(turns)
        for (b0, b1, b2), (a0, a1, a2) in biquads:
            whole *= (b0 + b1 * turns + b2 * turns**2) / (a0 + a1 * turns + a2 * turns**2)
        self._response: NDArray[np.float64] = np.fft.irfft(whole, _RESPONSE)
        self._tail = np.zeros(_RESPONSE)

    def push(self, sound: Wave) -> Wave:
        """The next samples, filtered. Costs a transform of the response's length however few they are."""
        parts = [self._filtered(sound[at : at + _RESPONSE]) for at in range(0, len(sound), _RESPONSE)]
        return np.concatenate([np.zeros(0, np.float32), *parts])

    def _filtered(self, sound: Wave) -> Wave:
        size = 2 * _RESPONSE
        made = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(self._response, size), size)
        made[:_RESPONSE] += self._tail
        self._tail = np.zeros(_RESPONSE)
        rest = made[len(sound) : len(sound) + _RESPONSE]
        self._tail[: len(rest)] = rest
        return made[: len(sound)].astype(np.float32)


def high_pass(hertz: float) -> Biquad:
    """Butterworth, 12 dB per octave (R. Bristow-Johnson, "Audio EQ Cookbook")."""
    turn = 2 * np.pi * hertz / RATE
    cosine, alpha = float(np.cos(turn)), float(np.sin(turn)) / 2**0.5
    side = (1 + cosine) / 2
    return (side, -2 * side, side), (1 + alpha, -2 * cosine, 1 - alpha)


def integrated(sound: Wave) -> float | None:
    """LUFS of the whole; ``None`` when nothing in it is louder than :data:`SILENT`, or it is shorter than 400 ms."""
    weighted = Filter(_SHELF, _LOW_CUT).push(sound).astype(np.float64)
    if len(weighted) < _BLOCK:
        return None
    sums = np.concatenate([[0.0], np.cumsum(weighted**2)])
    starts = np.arange(0, len(weighted) - _BLOCK + 1, _STEP)
    energy = np.maximum(sums[starts + _BLOCK] - sums[starts], 0.0) / _BLOCK
    heard = energy[_lufs(energy) > SILENT]
    if not len(heard):
        return None
    counted = heard[_lufs(heard) > _lufs(heard.mean()) - 10.0]
    return float(_lufs(counted.mean()))


def _lufs(energy: NDArray[np.float64] | np.floating) -> NDArray[np.float64]:
    return np.asarray(-0.691 + 10.0 * np.log10(np.maximum(energy, 1e-20)), np.float64)


def brought_to(sound: Wave, lufs: float) -> Wave:
    """The sound at that loudness, or as near as its peaks allow: they stay below :data:`PEAK`."""
    now = integrated(sound)
    if now is None:
        return sound
    peak = float(np.abs(sound).max())
    gain = min(10.0 ** ((lufs - now) / 20.0), PEAK / peak)
    return (sound * np.float32(gain)).astype(np.float32)
