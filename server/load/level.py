"""Measurements in, a level out: it rises quickly, falls slowly and does not flap. Pure: the time is passed in.

While a measurement is above its limit the level rises one step after another, each time after waiting for what the last
step has brought. It falls when all measurements have been well below their limits for a while. A level that had to be
taken again soon after it was left is left later the next time.
"""

from __future__ import annotations

from collections.abc import Sequence

from server.load.readings import HIGHEST, Reading

CALM = 0.7
"""Share of its limit up to which a measurement lets the level fall; between this and the limit it stays."""
RISE_SECONDS, QUICK_SECONDS = 2.0, 0.75
"""Between two steps up; the latter at :data:`MUCH` times a limit."""
MUCH = 2.0
FALL_SECONDS, LONGEST_FALL_SECONDS = 5.0, 60.0
"""Calm before a step down; it doubles up to the latter for a level that was left too soon."""
REGRET_SECONDS, FORGIVE_SECONDS = 30.0, 180.0
"""A level that is taken again within the former was left too soon; after the latter without that all is forgiven."""
GAP_SECONDS = 3.0
"""Between two updates: more than this is a machine that was suspended, or a process that was; it proves nothing."""


class Level:
    """From 0 to ``highest``. ``calm``: see :data:`CALM`."""

    def __init__(self, highest: int = HIGHEST, calm: float = CALM) -> None:
        self.value = 0
        self.reason: Reading | None = None
        """What it rose for last, with the newest value; ``None`` at 0."""
        self.since: float | None = None
        """When it took its value; ``None``: from the start."""
        self.calm = calm
        self._highest = highest
        self._last: float | None = None
        self._pressed_since: float | None = None
        self._calm_since: float | None = None
        self._left_at: dict[int, float] = {}
        self._fall_seconds: dict[int, float] = {}

    def update(self, now: float, readings: Sequence[Reading]) -> bool:
        """The measurements at a time of the clock; whether the level is another one now."""
        gap = self._last is not None and not 0 <= now - self._last <= GAP_SECONDS
        self._last = now
        if gap:
            self._pressed_since = self._calm_since = None
            return False
        self._renew_reason(readings)
        pressing = [one for one in readings if one.pressure >= 1.0 and min(one.most, self._highest) > self.value]
        if pressing:
            self._calm_since = None
            return self._rise(now, max(pressing, key=lambda one: one.pressure))
        self._pressed_since = None
        if self.value and all(one.pressure < self.calm for one in readings if one.most >= self.value):
            return self._fall(now)
        self._calm_since = None
        return False

    def fall_in(self, now: float) -> float:
        """Seconds until the next step down if everything stays calm from now on."""
        wait = self._fall_seconds.get(self.value, FALL_SECONDS)
        calm = self._calm_since if self._calm_since is not None else now
        return max(0.0, wait - (now - calm))

    def _rise(self, now: float, strongest: Reading) -> bool:
        if self._pressed_since is None:
            self._pressed_since = now
        wait = QUICK_SECONDS if strongest.pressure >= MUCH else RISE_SECONDS
        if now - max(self._pressed_since, self.since if self.since is not None else self._pressed_since) < wait:
            return False
        self._set(now, self.value + 1)
        self.reason = strongest
        left = self._left_at.get(self.value)
        if left is not None and now - left < REGRET_SECONDS:
            usual = self._fall_seconds.get(self.value, FALL_SECONDS)
            self._fall_seconds[self.value] = min(LONGEST_FALL_SECONDS, 2 * usual)
        elif left is None or now - left > FORGIVE_SECONDS:
            self._fall_seconds.pop(self.value, None)
        return True

    def _fall(self, now: float) -> bool:
        if self._calm_since is None:
            self._calm_since = now
        if self.fall_in(now) > 0:
            return False
        self._left_at[self.value] = now
        self._set(now, self.value - 1)
        self._calm_since = now
        if not self.value:
            self.reason = None
        return True

    def _set(self, now: float, value: int) -> None:
        self.value, self.since = value, now

    def _renew_reason(self, readings: Sequence[Reading]) -> None:
        if self.reason is not None:
            of = self.reason.measure
            self.reason = next((one for one in readings if one.measure == of), self.reason)
