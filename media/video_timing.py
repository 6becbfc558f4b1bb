"""Timestamps of pictures that can be relied on, and how many of them are wanted. Pure."""

from __future__ import annotations

from collections import deque

MOST = 30
"""Encoded frames that may wait: a second of a usual camera."""
_HEAD = 200
"""Bytes at the beginning of a frame that tell what it is."""


class Backlog:
    """Lets frames through to a decoder until too many wait; then none before it has caught up and a key frame comes.

    A frame in the middle cannot be left out: those after it are built upon it.
    """

    def __init__(self) -> None:
        self._skipping = False

    def admits(self, waiting: int, *, key: bool) -> bool:
        """Whether the next frame is to be decoded while ``waiting`` others are."""
        if self._skipping:
            self._skipping = not key or not self.has_caught_up(waiting)
        elif waiting >= MOST:
            self._skipping = True
        return not self._skipping

    def has_caught_up(self, waiting: int) -> bool:
        """Whether a key frame would be let through while ``waiting`` others wait."""
        return not self._skipping or waiting <= MOST // 6


def is_key_frame(codec: str, data: bytes) -> bool:
    """Whether decoding can begin with this frame (RFC 6386, 9.1; H.264 7.4.1); of an unknown codec: yes."""
    if codec == "VP8":
        return not data[0] & 1
    if codec == "H264":
        units = data[:_HEAD].split(b"\x00\x00\x01")[1:]
        return any(unit and unit[0] & 31 in (5, 7) for unit in units)
    return True


def size_of_key_frame(codec: str, data: bytes) -> tuple[int, int]:
    """Width and height in pixels that a key frame of VP8 claims to have; 0 × 0 when it does not say, or for others."""
    if codec != "VP8" or len(data) < 10 or data[3:6] != b"\x9d\x01\x2a":
        return 0, 0
    return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF


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
