"""The circuit breaker of one engine: who has failed rests, and one trial finds out whether it works again. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestPolicy:
    """What a stage does about failures of its engines, whatever its pipeline says."""

    retries: int = 0
    """How often the same engine is asked again at once for the same work before the next one is."""
    last_chances: int = 0
    """How often, after a pause each, an engine is asked again whose failure passes and after which nobody is left."""
    rest_seconds: float = 5.0
    """How long an engine rests after its first failure; twice as long after each further one …"""
    longest_rest: float = 60.0
    """… up to so many seconds."""


class Breaker:
    """The circuit breaker of one engine (M. Nygard, *Release It!*, 2007). Pure: ``now`` is passed in, in seconds.

    *Closed*: the engine works. *Open*: it has failed and rests. *Half-open*: it has rested, and one trial finds out;
    the others pass it over until that has ended, or for the longest rest when nothing is heard of it.
    """

    def __init__(self, policy: RestPolicy) -> None:
        self.failures = 0
        """In a row, since it last worked."""
        self._policy = policy
        self._rests_until = float("-inf")
        self._tried_until = float("-inf")

    def admits(self, now: float) -> bool:
        """Whether it is closed, or half-open with nobody trying."""
        return self._rests_until <= now and self._tried_until <= now

    def due(self, now: float, within: float) -> bool:
        """Whether it is not closed, and will admit a trial ``within`` seconds."""
        return self.failures > 0 and self.admits(now + within)

    def trial(self, now: float) -> None:
        """Somebody finds out whether the engine works."""
        self._tried_until = now + self._policy.longest_rest

    def released(self) -> None:
        """The trial was given up without a result."""
        self._tried_until = float("-inf")

    def failed(self, now: float, longest_rest: float | None = None) -> None:
        """Open, for longer than the last time but at most for ``longest_rest`` seconds."""
        longest = self._policy.longest_rest if longest_rest is None else longest_rest
        self._rests_until = now + min(longest, self._policy.rest_seconds * 2.0 ** min(self.failures, 16))
        self.failures += 1
        self.released()

    def worked(self) -> None:
        """Close, and forget the failures."""
        self.failures = 0
        self._rests_until = float("-inf")
        self.released()
