"""How often somebody may ask: so many requests a minute, some of them at once. Pure.

The generic cell rate algorithm (ITU-T I.371): one number for each address or key, the time at which all that was asked
would have been due had it come evenly.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

from media.clock import Clock

LONGEST_DEBT = 60.0
"""Seconds: what others have counted may keep nobody waiting for longer."""
MOST_KNOWN = 10_000
"""Addresses or keys that are counted; beyond, the one that asked least recently is forgotten, and may ask afresh."""


class RateLimit:
    """For any number of addresses or of keys, each counted by itself."""

    def __init__(self, per_minute: float, burst: int, clock: Clock) -> None:
        self._step = 60.0 / per_minute
        self._burst = burst * self._step
        self._clock = clock
        self._due: OrderedDict[str, float] = OrderedDict()
        self._untold: dict[str, int] = {}
        """Requests that were counted here and that others have not heard of."""
        self._news: Callable[[], object] | None = None

    def __len__(self) -> int:
        return len(self._due)

    def wait(self, who: str) -> int:
        """Count a request; seconds until ``who`` may come again, 0 when this one is served."""
        now = self._clock.now()
        due = max(self._due.get(who, 0.0), now) + self._step
        if (early := due - now - self._burst) > 1e-9:
            return max(1, math.ceil(early))
        self._set(who, due)
        if self._news is not None and (who in self._untold or len(self._untold) < MOST_KNOWN):
            self._untold[who] = self._untold.get(who, 0) + 1
            self._news()
        return 0

    def _set(self, who: str, due: float) -> None:
        self._due[who] = due
        self._due.move_to_end(who)
        while len(self._due) > MOST_KNOWN:
            self._due.popitem(last=False)

    # ------------------------------------------------------------------------------------------------ with others

    def share(self, news: Callable[[], object]) -> None:
        """Others count the same: from now on keep what they are to hear, and call ``news`` whenever there is some."""
        self._news = news

    def untold(self, most: int) -> dict[str, float]:
        """Of so many, the seconds that each has used up since this was asked last. They are told by that."""
        taken = {who: self._untold.pop(who) * self._step for who in list(islice(self._untold, most))}
        if self._untold and self._news is not None:
            self._news()
        return taken

    def learn(self, who: str, seconds: float) -> None:
        """``who`` has used up so many seconds with all others together, and what is untold beside."""
        told = min(seconds, self._burst + LONGEST_DEBT) + self._untold.get(who, 0) * self._step
        due = self._clock.now() + told
        if due > self._due.get(who, 0.0):
            self._set(who, due)
