"""What is put in place of sound that did not arrive, so that neither a listener nor a recogniser hears a hole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples

_Wave = NDArray[np.float32]

_SHORTEST_PERIOD_SECONDS = 1 / 400
_LONGEST_PERIOD_SECONDS = 1 / 66
_HISTORY_SECONDS = 0.04
"""Twice the longest period, and an overlap."""
_OVERLAP_SECONDS = 0.004
_MEET_SECONDS = 0.001
"""What is made up begins where the sound stopped, and goes over to its own course in this time."""
_STEADY_SECONDS = 0.01
"""The first 10 ms of a loss are not attenuated."""
_FADE_SECONDS = 0.06
"""After this nothing is left: repeating longer sounds like a machine, and a recogniser would hear words in it."""
_SEARCH_RATE = 12_000
"""Hertz; the pitch is looked for roughly at this rate first."""
_VOICED = 0.5
"""Correlation below which there is no pitch; noise repeated at a short period would buzz."""


class Concealer:
    """Packet-loss concealment after ITU-T G.711 Appendix I, for one stream at ``rate`` hertz.

    The last pitch period is repeated, fades to silence within 60 ms, and both joins are overlapped so that nothing
    clicks. Give it what arrives and what is missing, in order; it returns what to play, of the same length.
    """

    def __init__(self, rate: int) -> None:
        self.concealed_samples = 0
        """Total length of what was made up."""
        self._shortest = round(_SHORTEST_PERIOD_SECONDS * rate)
        self._longest = round(_LONGEST_PERIOD_SECONDS * rate)
        self._overlap = round(_OVERLAP_SECONDS * rate)
        self._meet = np.linspace(1, 0, round(_MEET_SECONDS * rate), dtype=np.float32)
        self._search_step = max(1, rate // _SEARCH_RATE)
        steady, fade = round(_STEADY_SECONDS * rate), round((_FADE_SECONDS - _STEADY_SECONDS) * rate)
        self._gain = np.concatenate([np.ones(steady), np.linspace(1, 0, fade)]).astype(np.float32)
        self._history = np.zeros(round(_HISTORY_SECONDS * rate), np.int16)
        self._continuation: Samples | None = None
        """While something is missing: what would follow the last sound."""
        self._used = 0

    def received(self, samples: Samples) -> Samples:
        """The next samples that arrived, shape ``(n,)``; a join after a loss is cross-faded."""
        if self._continuation is not None and len(samples):
            samples = self._join(samples)
        self._remember(samples)
        return samples

    def lost(self, count: int) -> Samples:
        """``count`` samples in place of what is missing."""
        if self._continuation is None and count:
            self._continuation, self._used = self._continue(), 0
        made = self._take(count)
        self.concealed_samples += count
        self._remember(made)
        return made

    def _take(self, count: int) -> Samples:
        """The next ``count`` samples of the continuation; silence after its end."""
        made = np.zeros(count, np.int16)
        if self._continuation is not None:
            part = self._continuation[self._used : self._used + count]
            made[: len(part)] = part
            self._used += count
        return made

    def _join(self, samples: Samples) -> Samples:
        """Cross-fade from the continuation into the real signal."""
        length = min(self._overlap * 2, len(samples))
        rising = np.linspace(0, 1, length, dtype=np.float32)
        joined = samples.copy()
        joined[:length] = np.rint(samples[:length] * rising + self._take(length) * (1 - rising))
        self._continuation = None
        return joined

    def _continue(self) -> Samples:
        """What would follow the history: its last pitch period over and over, fading."""
        history = self._history.astype(np.float32)
        lag = self._pitch_period(history)
        period = history[-lag:].copy()
        overlap = min(self._overlap, lag // 4)  # the end is bent to meet the beginning: repeating must not click
        rising = np.linspace(0, 1, overlap, dtype=np.float32)
        period[-overlap:] += (history[-lag - overlap : -lag] - period[-overlap:]) * rising
        wave = np.resize(period, len(self._gain)) * self._gain
        wave[: len(self._meet)] += (history[-1] - history[-lag - 1]) * self._meet
        continuation: Samples = np.clip(np.rint(wave), -32768, 32767).astype(np.int16)
        return continuation

    def _pitch_period(self, history: _Wave) -> int:
        """Samples per pitch period, searched coarsely and then to the sample."""
        step = self._search_step
        coarse = history[len(history) % step :].reshape(-1, step).mean(1)
        lag, likeness = _best_lag(coarse, self._shortest // step, self._longest // step)
        if likeness < _VOICED:
            return self._longest
        around = max(self._shortest, (lag - 1) * step), min(self._longest, (lag + 1) * step)
        return _best_lag(history, *around)[0]

    def _remember(self, samples: Samples) -> None:
        size = len(self._history)
        if len(samples) < size:
            samples = np.concatenate([self._history[len(samples) :], samples])
        self._history = samples[-size:]


def _best_lag(signal: _Wave, shortest: int, longest: int) -> tuple[int, float]:
    """The lag at which the end of ``signal`` is most like itself, and the normalised cross-correlation there."""
    window = min(longest, len(signal) - longest)
    target = signal[-window:]
    past = signal[len(signal) - window - longest : len(signal) - shortest]
    energy = np.concatenate([[0.0], np.cumsum(past.astype(np.float64) ** 2)])
    power = (energy[window:] - energy[:-window]) * float(target @ target)
    likeness = np.correlate(past, target, "valid") / np.sqrt(np.maximum(power, 1.0))
    best = int(np.argmax(likeness))
    return longest - best, float(likeness[best])
