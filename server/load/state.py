"""The state of load of one process: its level, who is let in, and when those who are not may come again. Pure."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from media.clock import Clock
from pipelines.routing.run import Priority
from pipelines.runtime.relief import Part
from server.load.level import CALM, MUCH, Level
from server.load.plan import APART, OVERRUN, REFUSED_FROM, Newcomer
from server.load.readings import HIGHEST, Reading

SOONEST, LATEST = 2, 60
"""Seconds within which those who are refused are asked to come again."""
UNKNOWN_SECONDS = 15.0
"""Until it is calm, where the load does not fall yet."""
MEMORY_CALM = 0.97
"""As :data:`~server.load.level.CALM`: memory does not go up and down by itself."""
HISTORY = 20
"""Updates from which is told how fast the load falls: ten seconds."""
SPREAD_SECONDS = 5
"""Those who are refused come again spread over so many seconds more, not all at once."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Why somebody is not let in now."""

    message: str
    retry_after: int
    """Seconds."""


class Load:
    """Measurements come in through :meth:`update`; whoever admits asks :meth:`refusal`. ``clock`` tells when.

    Too little memory is apart from the rest: nothing that running sessions give up brings any back, so it closes the
    door (level 4) and leaves them as they are.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.readings: tuple[Reading, ...] = ()
        """The newest, all of them."""
        self.refused: Counter[Newcomer] = Counter()
        """Who was not let in, so far."""
        self.given_up: Counter[Part] = Counter()
        """What sessions that are over have given up."""
        self._work = Level()
        self._memory = Level(1, MEMORY_CALM)
        self._pressures: deque[tuple[float, float]] = deque(maxlen=HISTORY)
        self._admitted_at = float("-inf")

    def update(self, readings: Sequence[Reading]) -> bool:
        """The measurements as they are now; whether the level is another one."""
        now, before = self._clock.now(), (self.level, self.sheds)
        self.readings = tuple(readings)
        self._memory.update(now, [one for one in readings if one.measure == "memory"])
        work = [one for one in readings if one.measure != "memory"]
        self._work.update(now, work)
        self._pressures.append((now, max((one.pressure for one in work if one.most == HIGHEST), default=0.0)))
        return (self.level, self.sheds) != before

    def reset(self) -> None:
        """Nothing is measured any more: everything is as usual."""
        self.readings = ()
        self._work, self._memory = Level(), Level(1, MEMORY_CALM)
        self._pressures.clear()

    @property
    def level(self) -> int:
        """0–4."""
        return HIGHEST if self._memory.value else self._work.value

    @property
    def sheds(self) -> int:
        """The level by which running sessions give something up."""
        return self._work.value

    @property
    def reason(self) -> Reading | None:
        """The measurement that led to the level; ``None`` at level 0."""
        return self._memory.reason or self._work.reason

    @property
    def cause_of_shedding(self) -> Reading | None:
        """The measurement for which running sessions give something up."""
        return self._work.reason

    def refusal(self, newcomer: Newcomer, priority: Priority) -> Busy | None:
        """Why a newcomer is not let in now; ``None``: it is."""
        refused_from = REFUSED_FROM[newcomer][priority]
        if self._effective >= refused_from:
            wait = self.retry_after(refused_from)
            reason = self.reason
            what = f"the server has too much to do: {reason}" if reason is not None else "the server has too much to do"
            return Busy(what, wait)
        apart = APART.get(self.level, 0.0) if newcomer == "session" and refused_from <= OVERRUN else 0.0
        if apart and self._clock.now() - self._admitted_at < apart:
            return Busy("the server is under load and lets one session in after another", SOONEST)
        return None

    def admitted(self) -> None:
        """A session has been let in."""
        self._admitted_at = self._clock.now()

    def turned_away(self, newcomer: Newcomer) -> None:
        """A newcomer was told :meth:`refusal`."""
        self.refused[newcomer] += 1

    def retry_after(self, refused_from: int = HIGHEST) -> int:
        """Seconds after which the level is below ``refused_from``, if the load goes on to fall as it does now."""
        steps = max(1, self.level - refused_from + 1)
        seconds = (
            self._calm_in() + (self._memory if self._memory.value else self._work).fall_in(self._clock.now()) * steps
        )
        seconds += sum(self.refused.values()) % SPREAD_SECONDS
        return min(LATEST, max(SOONEST, math.ceil(seconds)))

    @property
    def _effective(self) -> int:
        """The level, and one more when it is the highest and the load is far above its limit all the same."""
        over = self.level == HIGHEST and self.reason is not None and self.reason.pressure >= MUCH
        return OVERRUN if over else self.level

    def _calm_in(self) -> float:
        """Seconds until everything is well below its limit."""
        if self._memory.value:
            reason = self._memory.reason
            return 0.0 if reason is None or reason.pressure < MEMORY_CALM else UNKNOWN_SECONDS
        if not self._pressures or self._pressures[-1][1] < CALM:
            return 0.0
        (since, before), (now, pressure) = max(self._pressures, key=lambda seen: seen[1]), self._pressures[-1]
        if now <= since or before - pressure < 0.05 * before:
            return UNKNOWN_SECONDS
        return min(float(LATEST), (pressure - CALM) * (now - since) / (before - pressure))
