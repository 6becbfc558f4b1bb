"""When to ask a camera for a key frame, and ask again. Pure.

One request is not enough: it may be lost, and so may any packet of the picture that answers it. At 10 % of loss a key
frame of twenty packets comes whole once in eight times.
"""

from __future__ import annotations

FIRST_SECONDS = 0.3
"""What an answer may take: a round trip, and the picture. The first frame of a stream is mostly one by itself."""
LONGEST_SECONDS = 5.0
GROWTH = 1.2
"""Each further request waits so many times as long as the one before: key frames are large and crowd each other out."""


class KeyFrameRequests:
    """A stream begins without its key frame, so one is wanted from the first packet on."""

    def __init__(self) -> None:
        self.asked = 0
        """Requests so far."""
        self._wanted = False
        self._pause = FIRST_SECONDS
        self._due = float("-inf")

    def begin(self, now: float) -> None:
        """The stream's first packet has come."""
        self._wanted, self._due = True, now + FIRST_SECONDS

    def want(self) -> None:
        """The picture is spoilt."""
        self._wanted = True

    def came(self) -> None:
        """A key frame has come whole."""
        self._wanted, self._pause = False, FIRST_SECONDS

    def delay(self, now: float) -> float | None:
        """Seconds until the next request is due, 0 for now; ``None`` when no key frame is wanted."""
        return max(0.0, self._due - now) if self._wanted else None

    def sent(self, now: float) -> None:
        """A request has been sent."""
        self.asked += 1
        self._due = now + self._pause
        self._pause = min(self._pause * GROWTH, LONGEST_SECONDS)
