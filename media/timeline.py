"""Timestamps of pictures that can be relied on, and how many of them are wanted. Pure."""

from __future__ import annotations

from collections import deque

STEP = 0.001
"""Seconds between two pictures at least."""
TOLERANCE = 1.0
"""Seconds by which a source's clock may differ from the arrival of its pictures."""


class Timeline:
    """Makes media time strictly increasing, whatever the source's timestamps do.

    Good timestamps pass unchanged. One that is missing, repeats, runs backwards or jumps is replaced by the time of
    arrival, counted from the picture before; those after it keep their distances to it.
    """

    def __init__(self) -> None:
        self.repaired = 0
        """Timestamps that made no sense so far."""
        self._last: float | None = None
        self._offset = 0.0
        self._ahead = 0.0
        """By how much media time is ahead of arrival, in seconds."""
        self._arrived = 0.0

    def place(self, seconds: float | None, arrived: float) -> float:
        """Media time of a picture that says it is from ``seconds`` and arrived at ``arrived`` (a clock's seconds)."""
        if self._last is None:
            good = seconds is not None and seconds >= 0
            time = seconds if good and seconds is not None else 0.0
            self.repaired += not good
        else:
            candidate = None if seconds is None else seconds + self._offset
            expected = arrived + self._ahead
            good = candidate is not None and candidate > self._last and abs(candidate - expected) <= TOLERANCE
            if good and candidate is not None:
                self._arrived = arrived
                self._last = candidate
                return candidate
            self.repaired += 1
            time = self._last + max(STEP, arrived - self._arrived)
        self._offset = time - seconds if seconds is not None else self._offset
        self._ahead = time - arrived
        self._arrived, self._last = arrived, time
        return time


class FrameRate:
    """Thins out pictures to at most ``rate`` per second, evenly."""

    def __init__(self) -> None:
        self._due: float | None = None

    def takes(self, time: float, rate: float | None) -> bool:
        """Whether the picture at media time ``time`` is one of those wanted; all are when ``rate`` is ``None``."""
        if rate is None:
            self._due = None
            return True
        step = 1 / rate
        if self._due is None or time > self._due + step or time < self._due - 2 * step:
            self._due = time
        if time < self._due - step / 10:  # a camera's frames jitter: nearly due is due
            return False
        self._due += step
        return True


class RateMeter:
    """How many per second there were lately."""

    def __init__(self, over: int = 30) -> None:
        self._times: deque[float] = deque(maxlen=over)

    def tick(self, now: float) -> None:
        """Another one, at the clock's ``now``."""
        self._times.append(now)

    @property
    def rate(self) -> float | None:
        """Per second; ``None`` before there were two."""
        if len(self._times) < 2 or self._times[-1] <= self._times[0]:
            return None
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])
