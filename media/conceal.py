"""Packet-loss concealment: what is lost is filled with what was heard just before, pitch-synchronously and fading.

After ITU-T G.711 Appendix I: the last pitch period is repeated, fades to silence within 60 ms, and the joins are
overlapped so that neither end clicks. The media timeline keeps its length to the sample.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples

_HISTORY_SECONDS = 0.045
_SHORTEST_PERIOD_SECONDS = 1 / 400
_LONGEST_PERIOD_SECONDS = 1 / 66
_OVERLAP_SECONDS = 0.004
_FADE_SECONDS = 0.06
_STEADY_SECONDS = 0.01
"""The first 10 ms of a loss are not attenuated."""


class Concealer:
    """One stream at ``rate`` hertz. Give it what arrives and what is missing, in order; it returns what to play."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._overlap = round(_OVERLAP_SECONDS * rate)
        self._history = np.zeros(round(_HISTORY_SECONDS * rate), np.float32)
        self._period: NDArray[np.float32] | None = None
        self._step = 0.0
        self._concealed = 0
        self.concealed_samples = 0
        """Total length of what was made up."""

    def received(self, samples: Samples) -> Samples:
        """The next samples that arrived; a join after a loss is cross-faded."""
        if not len(samples):
            return samples
        if self._period is not None:
            samples = self._join(samples)
        self._remember(samples.astype(np.float32))
        return samples

    def lost(self, count: int) -> Samples:
        """``count`` samples in place of what is missing."""
        if count <= 0:
            return np.zeros(0, np.int16)
        if self._period is None:
            self._period, self._concealed = self._last_period(), 0
        made = self._extrapolate(count)
        self._concealed += count
        self.concealed_samples += count
        return made.astype(np.int16)

    def _join(self, samples: Samples) -> Samples:
        """Cross-fade from the extrapolation into the real signal."""
        length = min(self._overlap * 2, len(samples))
        guess = self._extrapolate(length)
        rising = np.linspace(0.0, 1.0, length, dtype=np.float32)
        joined = samples.copy()
        joined[:length] = (samples[:length] * rising + guess * (1.0 - rising)).astype(np.int16)
        self._period = None
        return joined

    def _extrapolate(self, count: int) -> NDArray[np.float32]:
        assert self._period is not None
        position = np.arange(self._concealed, self._concealed + count)
        wave = self._period[position % len(self._period)]
        seconds = position / self._rate
        if self._concealed < self._overlap:  # begin exactly where the real signal ended
            wave = wave + (self._step * np.clip(1.0 - position / self._overlap, 0.0, 1.0)).astype(np.float32)
        gain = np.clip(1.0 - (seconds - _STEADY_SECONDS) / (_FADE_SECONDS - _STEADY_SECONDS), 0.0, 1.0)
        return (wave * gain).astype(np.float32)

    def _last_period(self) -> NDArray[np.float32]:
        """The last pitch period, its end bent to meet its beginning so that repeating it does not click."""
        lag = self._pitch_lag()
        period = self._history[-lag:].copy()
        self._step = float(self._history[-1] - self._history[-lag - 1])
        overlap = min(self._overlap, lag // 4)
        if overlap:
            before = self._history[-lag - overlap : -lag]
            rising = np.linspace(0.0, 1.0, overlap, dtype=np.float32)
            period[-overlap:] = period[-overlap:] * (1.0 - rising) + before * rising
        return period

    def _pitch_lag(self) -> int:
        """Samples per pitch period by normalised cross-correlation, searched at a quarter of the rate."""
        step = max(1, self._rate // 12_000)
        signal = self._history[::-1][::step][::-1]
        shortest = int(_SHORTEST_PERIOD_SECONDS * self._rate / step)
        longest = int(_LONGEST_PERIOD_SECONDS * self._rate / step)
        window = longest
        target = signal[-window:]
        best, best_score = longest, -1.0
        for lag in range(shortest, longest + 1):
            candidate = signal[-window - lag : -lag]
            norm = float(np.sqrt(np.dot(candidate, candidate) * np.dot(target, target))) + 1e-6
            score = float(np.dot(candidate, target)) / norm
            if score > best_score + 1e-4:
                best, best_score = lag, score
        return best * step

    def _remember(self, samples: NDArray[np.float32]) -> None:
        size = len(self._history)
        if len(samples) >= size:
            self._history = samples[-size:].copy()
        else:
            self._history = np.concatenate([self._history[len(samples) :], samples])
