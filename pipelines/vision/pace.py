"""How often a session's pictures are looked at: as often as asked, as the machine can afford. Pure."""

from __future__ import annotations

LATE_SECONDS = 0.04
"""A task that wakes this late shares the processor with too much else: audio would suffer next."""
EXACT_DUTY = 0.9
GIVING_WAY = 2.5
"""By how much looks are rarer while somebody speaks or waits for an answer, but"""
GIVEN_WAY_SECONDS = 0.2
"""are no further apart than this for that."""
_BACK_OFF, _RECOVER = 1.2, 0.95
_MOST_STRAIN = 3.0


class Pace:
    """The time between two looks of one session.

    ``duty`` (0–1) is the largest share of the time that may be spent looking; time spent waiting for the worker counts,
    so that all sessions together keep to it. When the machine is overloaded, looks become rarer at once and slowly more
    frequent again afterwards (multiplicative both ways, like congestion control).
    """

    def __init__(self, duty: float = 0.5) -> None:
        self.strain = 1.0
        """By how much looks are rarer than they would be on an idle machine."""
        self._duty = duty

    def interval(self, spent: float, max_fps: float, *, exact: bool = False, gives_way: bool = False) -> float:
        """Seconds from the begin of one look, which took ``spent``, to the next.

        With ``exact`` the video itself waits for looks: they get nearly all of the time. ``gives_way``: to a voice.
        """
        usual = max(1 / max_fps, spent / (EXACT_DUTY if exact else self._duty)) * self.strain
        return max(usual, min(usual * GIVING_WAY, GIVEN_WAY_SECONDS)) if gives_way else usual

    def woke(self, late: float) -> None:
        """Take how many seconds after its time the last rest ended."""
        if late > LATE_SECONDS:
            self.strain = min(_MOST_STRAIN, self.strain * _BACK_OFF)
        else:
            self.strain = max(1.0, self.strain * _RECOVER)
