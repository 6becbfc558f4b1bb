"""How often somebody may ask: so many requests a minute, some of them at once. Pure.

The generic cell rate algorithm (ITU-T I.371): one number for each address or key, the time at which all that was asked
would have been due had it come evenly.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from media.clock import Clock

MOST_KNOWN = 10_000
"""Addresses or keys that are counted; beyond, the one that asked least recently is forgotten, and may ask afresh."""


class RateLimit:
    """For any number of addresses or of keys, each counted by itself."""

    def __init__(self, per_minute: float, burst: int, clock: Clock) -> None:
        self._step = 60.0 / per_minute
        self._burst = burst * self._step
        self._clock = clock
        self._due: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._due)

    def wait(self, who: str) -> int:
        """Count a request; seconds until ``who`` may come again, 0 when this one is served."""
        now = self._clock.now()
        due = max(self._due.get(who, 0.0), now) + self._step
        if (early := due - now - self._burst) > 1e-9:
            return max(1, math.ceil(early))
        self._due[who] = due
        self._due.move_to_end(who)
        while len(self._due) > MOST_KNOWN:
            self._due.popitem(last=False)
        return 0
