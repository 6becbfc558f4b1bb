"""The only file that reads time.

Everything that needs wall time is given a :class:`Clock`, so that tests can turn the hands themselves. Turn-taking
does not use it at all: it counts audio time.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds and a way to wait for them."""

    def now(self) -> float:
        """Seconds since an arbitrary, fixed origin; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` (at once when not positive)."""
        ...


class MonotonicClock:
    """The machine's monotonic clock; unlike the time of day it does not jump when NTP corrects it."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def local_time() -> datetime:
    """Date and time of day here, for telling them to people; never for measuring."""
    return datetime.now().astimezone()
