"""What is measured, and how single outliers are kept from counting. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from typing import Literal, get_args

from pipelines.runtime.relief import Cause

Measure = Literal["event_loop", "sound", "engine_wait", "engine_delay", "cpu", "cpu_pressure", "memory"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
MOST: dict[Measure, int] = {"cpu": 1, "cpu_pressure": 1, "engine_delay": 3}
"""The highest level that a measurement leads to, where that is not the highest there is: a processor that is busy all
the time is well used as long as nothing comes late, and an engine may be slow for what it is asked."""
HIGHEST = 4


@dataclass(frozen=True, slots=True)
class Reading:
    """A measurement as it is now."""

    measure: Measure
    value: float
    limit: float
    unit: Literal["ms", "%"]
    detail: str = ""
    """Which of several it is, such as the engine that is waited for."""

    @property
    def pressure(self) -> float:
        """From 1 on it is too much."""
        return self.value / self.limit

    @property
    def most(self) -> int:
        """The highest level that it leads to."""
        return MOST.get(self.measure, HIGHEST)

    @property
    def cause(self) -> Cause:
        """As clients are told."""
        return Cause(self.measure, round(self.value, 1), self.limit, self.unit)

    def __str__(self) -> str:
        named = f"{self.measure} ({self.detail})" if self.detail else self.measure
        return f"{named} is {self.value:.0f} {self.unit}, the limit {self.limit:.0f} {self.unit}"


STEPS_MS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0, 200.0, 300.0, 500.0)
"""Upper bounds of the classes that latenesses are counted in; what is above the last counts as twice that."""


class Lateness:
    """How late something mostly is: a quantile over the last few seconds, in constant memory.

    A pause that everything stops in (a garbage collection, a suspended laptop) is one late beat, or a few packets that
    follow each other at once, and does not move it.
    """

    def __init__(self, share: float = 0.8, periods: int = 4, fewest: int = 4) -> None:
        self._share = share
        self._fewest = fewest
        self._now = [0] * (len(STEPS_MS) + 1)
        self._before: deque[list[int]] = deque(maxlen=periods)

    def add(self, seconds: float) -> None:
        """One more, never below 0."""
        self._now[bisect_left(STEPS_MS, 1000.0 * seconds)] += 1

    def turn(self) -> float:
        """A period is over: milliseconds within which ``share`` of the last periods' are; 0 where there were few."""
        self._before.append(self._now)
        self._now = [0] * len(self._now)
        classes = [sum(counts) for counts in zip(*self._before, strict=True)]
        total = sum(classes)
        if total < self._fewest:
            return 0.0
        need, so_far = self._share * total, 0
        for place, count in enumerate(classes):
            so_far += count
            if so_far >= need:
                return STEPS_MS[place] if place < len(STEPS_MS) else 2 * STEPS_MS[-1]
        raise AssertionError("unreachable: the whole is no less than a share of it")

    def forget(self) -> None:
        """What was measured counts no more."""
        self._before.clear()
        self._now = [0] * len(self._now)


class Waits:
    """How long a request would wait for each of some workers, by how fast each has got on lately (Little's law)."""

    def __init__(self, periods: int = 6) -> None:
        self._periods = periods
        self._done: dict[str, deque[tuple[float, int]]] = {}

    def expect(self, name: str, now: float, done: int, waiting: int) -> float:
        """Seconds, for a worker that has ``done`` so many jobs since its start, and has so many ``waiting``."""
        seen = self._done.setdefault(name, deque(maxlen=self._periods))
        seen.append((now, done))
        if waiting <= 0:
            return 0.0
        since, before = seen[0]
        if done <= before:  # it gets nowhere: they have waited for that long at least
            return now - since
        return waiting * (now - since) / (done - before)

    def forget(self) -> None:
        """What was measured counts no more."""
        self._done.clear()


class Growth:
    """How much later than usual engines answer that cannot tell how long they let requests wait."""

    def __init__(self, slower: float = 1.002) -> None:
        self._usual: dict[str, float] = {}
        self._slower = slower

    def beyond(self, name: str, seconds: float, running: int) -> float:
        """Seconds to the first result of late, for an engine that has ``running`` requests in hand → how many of them
        are owed to the others. What is usual is the least that was seen, and forgotten slowly."""
        usual = min(seconds, self._slower * self._usual.get(name, seconds))
        self._usual[name] = usual
        return seconds - usual if running > 1 else 0.0
