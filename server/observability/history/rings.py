"""One curve in rings of several resolutions: what is recent is fine, what is old is coarse, and nothing grows. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Resolution = tuple[float, int]
"""Seconds of one slot, and how many slots are kept."""
RESOLUTIONS: tuple[Resolution, ...] = ((1.0, 600), (10.0, 1080), (120.0, 2160))
"""Ten minutes, three hours, three days."""
BRIEF: tuple[Resolution, ...] = RESOLUTIONS[:2]
"""Of what ends with a session."""
SLOT_BYTES = 8
"""Mean and peak of a slot."""


def bytes_of(resolutions: tuple[Resolution, ...]) -> int:
    """What a curve takes, however long it runs."""
    return SLOT_BYTES * sum(slots for _, slots in resolutions)


class Point(NamedTuple):
    """Mean and peak of the values from ``time`` on, for one step. Not a number where there were none."""

    time: float
    mean: float
    peak: float


class Ring:
    """Slots of ``step`` seconds, the last ``slots`` of them."""

    def __init__(self, step: float, slots: int) -> None:
        self.step = step
        self.slots = slots
        self._means: NDArray[np.float32] = np.full(slots, np.nan, np.float32)
        self._peaks: NDArray[np.float32] = np.full(slots, np.nan, np.float32)
        self._first: int | None = None
        self._last = 0
        self._count = 0
        self._sum = 0.0
        self._peak = -math.inf

    def add(self, time: float, value: float) -> None:
        """A value; times never go back, and one that does counts for the latest slot."""
        slot = int(time // self.step)
        if self._first is None:
            self._first = self._last = slot
        if slot > self._last:
            for passed in range(max(self._last + 1, slot - self.slots + 1), slot + 1):
                self._means[passed % self.slots] = self._peaks[passed % self.slots] = np.nan
            self._last, self._count, self._sum, self._peak = slot, 0, 0.0, -math.inf
        self._count += 1
        self._sum += value
        self._peak = max(self._peak, value)
        place = self._last % self.slots
        self._means[place], self._peaks[place] = self._sum / self._count, self._peak

    def knows(self, begin: float) -> bool:
        """Whether it has all that there was from ``begin`` on."""
        if self._first is None or self._last - self._first < self.slots:
            return True
        return (self._last - self.slots + 1) * self.step <= begin

    def between(self, begin: float, end: float, step: float) -> list[Point]:
        """Its slots that have a value, in steps of ``step`` seconds from ``begin`` on: the mean of the means, the
        highest of the peaks."""
        if self._first is None:
            return []
        oldest = max(self._first, self._last - self.slots + 1, int(begin // self.step))
        slots = np.arange(oldest, min(self._last, math.ceil(end / self.step) - 1) + 1)
        means, peaks = self._means[slots % self.slots], self._peaks[slots % self.slots]
        there = ~np.isnan(means)
        if not there.any():
            return []
        slots, means, peaks = slots[there], means[there], peaks[there]
        places = np.maximum(0, np.floor_divide(slots * self.step - begin, step)).astype(np.int64)
        firsts = np.flatnonzero(np.diff(places, prepend=-1))
        counts = np.diff(firsts, append=len(places))
        sums, tops = np.add.reduceat(means.astype(np.float64), firsts), np.maximum.reduceat(peaks, firsts)
        times = begin + places[firsts] * step
        return list(map(Point, times.tolist(), (sums / counts).tolist(), tops.tolist()))


class Curve:
    """The same values in several rings, the finest first."""

    def __init__(self, resolutions: tuple[Resolution, ...] = RESOLUTIONS) -> None:
        self._rings = [Ring(step, slots) for step, slots in resolutions]
        self.latest = math.nan
        self.touched = -math.inf
        """When the last value came."""

    def add(self, time: float, value: float) -> None:
        """A value at ``time``, in seconds."""
        self.latest, self.touched = value, time
        for ring in self._rings:
            ring.add(time, value)

    def between(self, begin: float, end: float, step: float) -> list[Point]:
        """What is known from ``begin`` to ``end`` in steps of ``step`` seconds, steps without values left out.

        From the coarsest ring that is no coarser than a step; where it does not reach back so far, from one that does.
        """
        fit = [ring for ring in reversed(self._rings) if ring.step <= step] or self._rings[:1]
        coarser = [ring for ring in self._rings if ring not in fit]
        ring = next((ring for ring in (*fit, *coarser) if ring.knows(begin)), self._rings[-1])
        return ring.between(begin, end, step)
