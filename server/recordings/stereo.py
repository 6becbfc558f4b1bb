"""Two voices of one call → one sound with two sides: the user on the left, the assistant on the right. Pure.

Both come in real time, each on a clock of its own: a side that is late is waited for a little and then filled with
silence, and what it brings too much of later is left out where it begins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from media.resample import Resampler

RATE = 24_000
"""Hertz of what is recorded."""
Stereo = NDArray[np.int16]
"""Shape ``(n, 2)``."""
WAIT_SECONDS = 0.3
"""A side may be this much behind the other."""
MOST_SECONDS = 1.0
"""A side that is more than this ahead brings what silence was written for: that much is left out of it."""


class Side:
    """One voice: samples of any rate in, those at :data:`RATE` waiting to be written."""

    def __init__(self) -> None:
        self._resampler = Resampler(RATE)
        self._waiting: Samples = np.zeros(0, np.int16)
        self._filled = 0
        """Samples of silence that stand for what had not come."""

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, samples: Samples, rate: int) -> None:
        """The next of it."""
        self._waiting = np.concatenate([self._waiting, self._resampler.push(samples, rate)])

    def fill(self, count: int) -> None:
        """Silence, up to ``count`` samples in all."""
        if (missing := count - len(self._waiting)) > 0:
            self._waiting = np.concatenate([self._waiting, np.zeros(missing, np.int16)])
            self._filled += missing

    def make_up(self, count: int) -> None:
        """Leave out the oldest ``count`` samples, as far as there was silence in their place."""
        count = min(count, self._filled)
        self._filled -= count
        self._waiting = self._waiting[count:]

    def take(self, count: int) -> Samples:
        """The oldest ``count`` samples."""
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def flush(self) -> None:
        """Nothing more comes."""
        self._waiting = np.concatenate([self._waiting, self._resampler.flush()])


class Sides:
    """Both of them."""

    def __init__(self) -> None:
        self.user, self.assistant = Side(), Side()

    def take(self) -> Stereo:
        """What can be written now."""
        wait, most = round(WAIT_SECONDS * RATE), round(MOST_SECONDS * RATE)
        for one, other in ((self.user, self.assistant), (self.assistant, self.user)):
            if len(one) - len(other) > most:
                one.make_up(len(one) - len(other))
        for one, other in ((self.user, self.assistant), (self.assistant, self.user)):
            other.fill(len(one) - wait)
        return self._joined(min(len(self.user), len(self.assistant)))

    def rest(self) -> Stereo:
        """All that is left, at the end."""
        for side in (self.user, self.assistant):
            side.flush()
        count = max(len(self.user), len(self.assistant))
        for side in (self.user, self.assistant):
            side.fill(count)
        return self._joined(count)

    def _joined(self, count: int) -> Stereo:
        return np.stack([self.user.take(count), self.assistant.take(count)], axis=1)


def mono(stereo: Stereo) -> Samples:
    """Both sides in one."""
    return np.asarray(np.clip(stereo.astype(np.int32).sum(axis=1), -32768, 32767), np.int16)
