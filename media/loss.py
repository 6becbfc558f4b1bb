"""How many packets will be lost, from what the receiver reports. Pure.

A report tells of the packets since the one before: of 25 where they come twice a second, of 250 from a browser. Few say
little, so a report counts for as long as it tells of. What is lost more than before counts soon, for speech is already
missing; what is lost less counts late, for a bad network is bad in bursts.
"""

from __future__ import annotations

import math

MOST_PERCENT = 30
"""What is expected at most: with more, the voice itself is left too few bits."""
RISE_SECONDS = 2.0
"""Within which the estimate follows two thirds of the way to more …"""
FALL_SECONDS = 20.0
"""… and to less."""
_FIRST_SECONDS = 1.0
"""What the first report is taken to tell of."""
_LONGEST_SECONDS = 10.0
"""What any tells of at most."""


class LossEstimate:
    """``least`` is expected where nothing is lost: Opus repeats nothing where it expects no loss, and the first packet to
    be lost would be missing."""

    def __init__(self, least: int) -> None:
        self.percent = least
        """What is expected, from ``least`` to :data:`MOST_PERCENT`."""
        self._least = least
        self._share = 0.0
        self._at: float | None = None

    def reported(self, share: float, now: float) -> int:
        """The receiver has lost this share, 0–1, since its last report; ``now`` in seconds. Returns :attr:`percent`."""
        seconds = _FIRST_SECONDS if self._at is None else min(max(0.0, now - self._at), _LONGEST_SECONDS)
        self._at = now
        share = min(max(0.0, share), 1.0)
        slow = RISE_SECONDS if share > self._share else FALL_SECONDS
        self._share += (share - self._share) * (1 - math.exp(-seconds / slow))
        self.percent = min(max(self._least, round(100 * self._share)), max(MOST_PERCENT, self._least))
        return self.percent
